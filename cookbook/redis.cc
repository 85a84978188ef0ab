// A small Redis: GET, SET, DEL, INCR, EXPIRE and PING, by RESP or as plain lines, pipelined. One
// actor has all data. A session sends it all commands of one read as one message.
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/flags/flag.h"
#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "sluice/core/os/flags.h"
#include "sluice/sluice.h"

ABSL_FLAG(sluice::ByteCount, data, {64 << 20}, "Bytes of all keys and values.");

constexpr size_t kCommandBytesMax = 256 * 1024;
constexpr size_t kRepliesBytes = 256 * 1024;  // With so much to write, the rest of a batch waits.
constexpr size_t kEntryBytes = 400;           // Of an entry and its timer, beside key and value.
constexpr char kNoNumber[] = "-ERR value is not an integer or out of range\r\n";
constexpr int64_t kPart = -1;
constexpr int64_t kBad = -2;
using Words = std::vector<absl::string_view>;

// The number in "*3\r\n" or "$5\r\n" at in[at], kPart or kBad; moves `at` behind it.
int64_t TakeNumber(absl::string_view in, char mark, size_t& at) {
  if (at >= in.size()) return kPart;
  if (in[at] != mark) return kBad;
  int64_t number = 0;
  while (++at < in.size() && in[at] >= '0' && in[at] <= '9') {
    number = number * 10 + (in[at] - '0');
    if (number > int64_t{kCommandBytesMax}) return kBad;
  }
  if (at + 1 >= in.size()) return kPart;
  at += 2;
  return in[at - 2] == '\r' && in[at - 1] == '\n' ? number : kBad;
}

// The bytes of the command at the front of `in`, kPart or kBad.
int64_t TakeCommand(absl::string_view in, Words& words) {
  words.clear();
  size_t at = 0;
  if (in.empty() || in[0] != '*') {
    at = in.find('\n') + 1;
    if (at == 0) return kPart;
    words = absl::StrSplit(in.substr(0, at), absl::ByAnyChar(" \t\r\n"), absl::SkipEmpty());
    return at;
  }
  for (int64_t count = TakeNumber(in, '*', at); count != 0; --count) {
    const int64_t size = count < 0 ? count : TakeNumber(in, '$', at);
    if (size < 0) return size;
    words.push_back(in.substr(at, size));
    at += size + 2;
  }
  return at <= in.size() ? at : kPart;
}

// The bytes of all whole commands; all of `in` if something bad is behind them.
size_t WholeCommands(std::string_view in) {
  Words words;
  absl::string_view rest = sluice::ToAbsl(in);
  int64_t size = 0;
  while ((size = TakeCommand(rest, words)) > 0) rest.remove_prefix(size);
  if (size == kBad || rest.size() > kCommandBytesMax) return in.size();
  return in.size() - rest.size();
}

struct Replies {
  std::string bytes;
  size_t taken = 0;  // Bytes of the batch that these replies answer. 0: it begins with no command.
};
struct Batch {
  using Reply = Replies;
  std::string commands;
};

class Store : public sluice::Actor {
 public:
  Replies On(const Batch& batch) {
    Replies replies;
    absl::string_view in = batch.commands;
    int64_t size = 0;
    while (replies.bytes.size() < kRepliesBytes && (size = TakeCommand(in, words_)) > 0) {
      in.remove_prefix(size);
      if (!words_.empty()) replies.bytes += Run();
    }
    replies.taken = batch.commands.size() - in.size();
    return replies;
  }

 private:
  struct Value {
    std::string text;
    TimerId timer = 0;
  };

  std::string Run() {
    const std::string name = absl::AsciiStrToLower(words_[0]);
    const absl::string_view key = words_.size() < 2 ? "" : words_[1];
    const auto found = words_.size() < 2 ? values_.end() : values_.find(key);
    const bool there = found != values_.end();
    int64_t number = 0;
    if (name == "get" && words_.size() == 2) return there ? Bulk(found->second.text) : "$-1\r\n";
    if (name == "set" && words_.size() == 3) return Set(key, words_[2], "+OK\r\n");
    if (name == "ping" && words_.size() <= 2) return key.empty() ? "+PONG\r\n" : Bulk(key);
    if (name == "config" || name == "command") return "*0\r\n";
    if (name == "incr" && words_.size() == 2) {
      if (there && !absl::SimpleAtoi(found->second.text, &number)) return kNoNumber;
      if (number == INT64_MAX) return kNoNumber;
      const std::string text = absl::StrCat(number + 1);
      return Set(key, text, absl::StrCat(":", text, "\r\n"), there ? found->second.timer : 0);
    }
    if (name == "expire" && words_.size() == 3) {
      if (!absl::SimpleAtoi(words_[2], &number)) return kNoNumber;
      if (!there) return ":0\r\n";
      CancelTimer(found->second.timer);
      found->second.timer =
          After(absl::Seconds(number), [this, gone = std::string(key)] { Erase(gone); });
      return found->second.timer != 0 ? ":1\r\n" : "-ERR too many keys expire\r\n";
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
  // Answers `reply` if there is room. The key goes when `timer` runs; 0: it stays.
  std::string Set(absl::string_view key, absl::string_view text, std::string reply,
                  TimerId timer = 0) {
    const auto found = values_.find(key);
    const size_t before = found != values_.end() ? found->second.text.size() : 0;
    const size_t more = found != values_.end() ? 0 : kEntryBytes + 2 * key.size();
    if (more + text.size() > before && bytes_ + more + text.size() - before > bytes_max_) {
      return "-OOM --data is reached\r\n";
    }
    bytes_ += more + text.size() - before;
    Value& value = values_[key];
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

  const size_t bytes_max_ = absl::GetFlag(FLAGS_data).bytes;
  size_t bytes_ = 0;
  Words words_;  // The command under way.
  absl::flat_hash_map<std::string, Value> values_;
};

class Client : public sluice::TaskSession {
 public:
  explicit Client(sluice::Ref<Store> store) : store_(store) { SetInputMax(2 * kCommandBytesMax); }

 private:
  sluice::Task<> Serve() override {
    while (const auto batch = co_await Frame(&WholeCommands)) {
      for (std::string_view rest = *batch; !rest.empty();) {
        auto question = Ask(store_, Batch{std::string(rest)}, absl::Seconds(5));
        const absl::StatusOr<Replies> replies = co_await question;
        if (!replies.ok()) co_return;
        const std::string_view bad = "-ERR Protocol error\r\n";
        co_await Write(replies->taken > 0 ? std::string_view(replies->bytes) : bad);
        if (replies->taken == 0) co_return;
        rest.remove_prefix(replies->taken);
      }
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
