// HTTP/1.1 hello: GET and HEAD, one connection for many requests, also pipelined. Everything else
// is refused by its status, and ends its connection.
#include <algorithm>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "sluice/sluice.h"

constexpr size_t kHeadBytesMax = 8 * 1024;
constexpr absl::Duration kHeadTimeout = absl::Seconds(30);  // For silence, and for a slow head.

struct Request {
  absl::string_view status = "200 OK";
  bool head_only = false;
  bool closes = false;
};

// The bytes of a request's head; all of `in` if it is too long.
size_t HeadBytes(std::string_view in) {
  const size_t end = in.find("\r\n\r\n");
  if (end == in.npos) return in.size() > kHeadBytesMax ? in.size() : 0;
  return end + 4;
}

bool IsToken(absl::string_view text) {
  const auto good = [](char c) {
    return absl::ascii_isalnum(c) ||
           absl::string_view("!#$%&'*+-.^_`|~").find(c) != absl::string_view::npos;
  };
  return !text.empty() && std::all_of(text.begin(), text.end(), good);
}
bool IsVisible(absl::string_view text) {
  return std::none_of(text.begin(), text.end(),
                      [](char c) { return c != '\t' && absl::ascii_iscntrl(c); });
}

Request Parse(absl::string_view head) {
  const auto refused = [](absl::string_view status) { return Request{status, false, true}; };
  if (head.size() > kHeadBytesMax) return refused("431 Request Header Fields Too Large");
  const std::vector<absl::string_view> lines =
      absl::StrSplit(head.substr(0, head.size() - 4), "\r\n");
  const std::vector<absl::string_view> words = absl::StrSplit(lines[0], ' ');
  if (words.size() != 3 || !IsToken(words[0]) || !IsVisible(lines[0]))
    return refused("400 Bad Request");
  if (words[2] != "HTTP/1.1") return refused("505 HTTP Version Not Supported");
  if (!absl::StartsWith(words[1], "/")) return refused("400 Bad Request");
  Request request;
  int hosts = 0;
  for (size_t i = 1; i < lines.size(); ++i) {
    const size_t colon = lines[i].find(':');
    const absl::string_view name = lines[i].substr(0, colon);
    if (colon == name.npos || !IsToken(name) || !IsVisible(lines[i]))
      return refused("400 Bad Request");
    hosts += absl::EqualsIgnoreCase(name, "host");
    // A body would be taken for the next request.
    if (absl::EqualsIgnoreCase(name, "content-length")) return refused("413 Content Too Large");
    if (absl::EqualsIgnoreCase(name, "transfer-encoding")) return refused("501 Not Implemented");
    if (!absl::EqualsIgnoreCase(name, "connection")) continue;
    for (const absl::string_view option : absl::StrSplit(lines[i].substr(colon + 1), ',')) {
      request.closes |= absl::EqualsIgnoreCase(absl::StripAsciiWhitespace(option), "close");
    }
  }
  if (hosts != 1) return refused("400 Bad Request");
  request.head_only = words[0] == "HEAD";
  if (!request.head_only && words[0] != "GET") return refused("405 Method Not Allowed");
  return request;
}

std::string AnswerTo(const Request& request) {
  const std::string body =
      request.status == "200 OK" ? "Hello, world!\n" : absl::StrCat(request.status, "\n");
  const std::string date =
      absl::FormatTime("%a, %d %b %Y %H:%M:%S GMT", absl::Now(), absl::UTCTimeZone());
  return absl::StrCat("HTTP/1.1 ", request.status, "\r\nDate: ", date, "\r\nAllow: GET, HEAD",
                      "\r\nContent-Type: text/plain\r\nContent-Length: ", body.size(), "\r\n",
                      request.closes ? "Connection: close\r\n\r\n" : "\r\n",
                      request.head_only ? "" : body);
}

class Hello : public sluice::TaskSession {
  sluice::Task<> Serve() override {
    for (bool open = true; open;) {
      const auto head = co_await Within(kHeadTimeout, Frame(&HeadBytes));
      if (!head.ok() || !head->has_value()) co_return;
      Request request = Parse(sluice::ToAbsl(**head));
      request.closes |= Ending();
      if (!co_await Write(AnswerTo(request))) co_return;
      open = !request.closes;
    }
  }
};

int main(int argc, char** argv) {
  sluice::Runtime runtime(sluice::Options::FromFlags(argc, argv));
  runtime.Listen<Hello>("127.0.0.1:7008");
  return runtime.RunUntilSignal();
}
