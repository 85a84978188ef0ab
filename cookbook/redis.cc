// A small Redis: GET, SET, DEL, INCR, EXPIRE and PING, by RESP or as plain lines, pipelined. One
// actor has all data. A session sends it all commands of one read as one message.
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "sluice/sluice.h"

// Of a command. With so many bytes of replies to write, the rest of a batch waits.
constexpr size_t kBytesMax = 256 * 1024;
constexpr size_t kEntryBytes = 400;  // Of a key's memory, beside itself and its value.
constexpr int64_t kPart = -1, kBad = -2;
constexpr char kNoNumber[] = "-ERR value is not an integer or out of range\r\n";

// The number, at most `most`, in "*3\r\n" or "$5\r\n" at in[at]; or kPart or kBad. Moves `at` on.
int64_t TakeNumber(absl::string_view in, char mark, size_t most, size_t& at) {
  if (at < in.size() && in[at] != mark) return kBad;
  size_t number = 0;
  while (++at < in.size() && absl::ascii_isdigit(in[at]) && number <= most) {
    number = number * 10 + (in[at] - '0');
  }
  if ((at += 2) > in.size()) return kPart;
  return in[at - 2] == '\r' && in[at - 1] == '\n' && number <= most ? number : kBad;
}

// The bytes of the command at the front of `in`, kPart or kBad. A command has at most 1,024 words.
int64_t TakeCommand(absl::string_view in, std::vector<absl::string_view>& words) {
  words.clear();
  size_t at = 0;
  if (in.empty() || in[0] != '*') {
    if ((at = in.find('\n') + 1) == 0) return kPart;
    words = absl::StrSplit(in.substr(0, at), absl::ByAnyChar(" \t\r\n"), absl::SkipEmpty());
    return at;
  }
  for (int64_t count = TakeNumber(in, '*', 1'024, at); count != 0; --count) {
    const int64_t size = count < 0 ? count : TakeNumber(in, '$', kBytesMax, at);
    if (size < 0) return size;
    words.push_back(in.substr(at, size));
    at += size + 2;
  }
  return at <= in.size() ? at : kPart;
}

// A batch goes to the store and back.
struct Batch {
  std::string in;        // What the store leaves is not answered yet.
  std::string out;       // The replies.
  int64_t next = kPart;  // At the front of `in`; above 0: a command, to be sent once more.
};
struct Run {
  using Reply = std::unique_ptr<Batch>;
  std::unique_ptr<Batch> batch;
};

class Store : public sluice::Actor {
 public:
  std::unique_ptr<Batch> On(Run run) {
    Batch& batch = *run.batch;
    absl::string_view in = batch.in;
    while ((batch.next = TakeCommand(in, words_)) > 0 && batch.out.size() < kBytesMax) {
      in.remove_prefix(batch.next);
      if (!words_.empty()) batch.out += Reply();
    }
    if (batch.next == kPart && in.size() > kBytesMax) batch.next = kBad;
    if (batch.next == kBad) batch.out += "-ERR Protocol error\r\n";
    std::string(in).swap(batch.in);  // An erase would keep all of the memory.
    return std::move(run.batch);
  }

 private:
  struct Value {
    std::string text;
    TimerId timer = 0;
  };

  std::string Reply() {
    const std::string name = absl::AsciiStrToLower(words_[0]);
    const absl::string_view key = words_.size() > 1 ? words_[1] : "";
    const auto found = values_.find(key);
    Value* const old = found != values_.end() ? &found->second : nullptr;
    int64_t number = 0;
    if (name == "get" && words_.size() == 2) return old != nullptr ? Bulk(old->text) : "$-1\r\n";
    if (name == "set" && words_.size() == 3) return Set(old, words_[2], 0, "+OK\r\n");
    if (name == "ping" && words_.size() <= 2) return key.empty() ? "+PONG\r\n" : Bulk(key);
    if (name == "config" || name == "command") return "*0\r\n";
    if (name == "incr" && words_.size() == 2) {
      const bool good = old == nullptr || absl::SimpleAtoi(old->text, &number);
      if (!good || number == INT64_MAX) return kNoNumber;
      const std::string text = absl::StrCat(number + 1);
      return Set(old, text, old != nullptr ? old->timer : 0, absl::StrCat(":", text, "\r\n"));
    }
    if (name == "expire" && words_.size() == 3) {
      if (!absl::SimpleAtoi(words_[2], &number)) return kNoNumber;
      if (old == nullptr) return ":0\r\n";
      CancelTimer(old->timer);
      auto expire = [this, gone = std::string(key)] { Erase(gone); };
      old->timer = After(absl::Seconds(number), std::move(expire));
      return old->timer != 0 ? ":1\r\n" : "-ERR too many keys expire\r\n";
    }
    if (name == "del" && words_.size() >= 2) {
      for (size_t i = 1; i < words_.size(); ++i) number += Erase(words_[i]);
      return absl::StrCat(":", number, "\r\n");
    }
    return "-ERR unknown command, or wrong number of arguments\r\n";
  }
  static std::string Bulk(absl::string_view text) {
    return absl::StrCat("$", text.size(), "\r\n", text, "\r\n");
  }
  // Gives the key words_[1], which has the value `old` or none, a text and a timer. The data may
  // have as many bytes as messages and buffers.
  std::string Set(Value* old, absl::string_view text, TimerId timer, std::string reply) {
    const int64_t more = old != nullptr ? text.size() - old->text.size()
                                        : text.size() + 2 * words_[1].size() + kEntryBytes;
    if (more > 0 && bytes_ + more > runtime().options().memory_bytes_max) return "-OOM full\r\n";
    bytes_ += more;
    Value& value = old != nullptr ? *old : values_[words_[1]];
    std::string(text).swap(value.text);  // An assignment would keep the memory of a longer text.
    if (value.timer != timer) CancelTimer(std::exchange(value.timer, timer));
    return reply;
  }
  bool Erase(absl::string_view key) {
    const auto found = values_.find(key);
    if (found == values_.end()) return false;
    CancelTimer(found->second.timer);
    bytes_ -= kEntryBytes + 2 * key.size() + found->second.text.size();
    values_.erase(found);
    return true;
  }

  int64_t bytes_ = 0;
  std::vector<absl::string_view> words_;  // The command under way.
  absl::flat_hash_map<std::string, Value> values_;
};

class Client : public sluice::TaskSession {
 public:
  explicit Client(sluice::Ref<Store> store) : store_(store) {}

 private:
  sluice::Task<> Serve() override {
    for (auto batch = std::make_unique<Batch>(); const auto bytes = co_await Read();) {
      batch->in += *bytes;
      do {
        auto question = Ask(store_, Run{std::move(batch)}, absl::Seconds(5));
        absl::StatusOr<std::unique_ptr<Batch>> answer = co_await question;
        if (!answer.ok()) co_return;
        batch = *std::move(answer);
        co_await Write(batch->out);
        std::string().swap(batch->out);
      } while (batch->next > 0);
      if (batch->next == kBad) co_return;
    }
  }
  const sluice::Ref<Store> store_;
};

int main(int argc, char** argv) {
  sluice::Options options = sluice::Options::FromFlags(argc, argv);
  options.timers_max = 1'000'000;
  sluice::Runtime runtime(options);
  runtime.Listen<Client>("127.0.0.1:6379", runtime.Spawn<Store>());
  return runtime.RunUntilSignal();
}
