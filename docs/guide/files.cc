#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <latch>
#include <string>
#include <string_view>

#include "sluice/sluice.h"

// Answers the name of a file with its size, the file, and a full stop.
class FileServer : public sluice::TaskSession {
 public:
  sluice::Task<> Serve() override {
    while (const auto name = co_await Line()) {
      // To open a file may take as long as the disk does.
      auto opened =
          RunBlocking([path = std::string(*name)] { return sluice::OpenFile::ForReading(path); });
      const absl::StatusOr<sluice::SharedFile> file = co_await opened;
      if (!file.ok()) {
        co_await Write(std::string(file.status().message()) + "\n");
        continue;
      }
      co_await Write(std::to_string((*file)->Bytes()) + "\n");
      // A gigabyte takes no more memory than a byte.
      if (!co_await SendFile(*file, 0, (*file)->Bytes())) break;
      co_await Write(".\n");
    }
  }
};

class Visitor : public sluice::Session {
 public:
  Visitor(std::string path, std::latch* done) : path_(std::move(path)), done_(*done) {}
  void OnOpen() override {
    WriteOrAbort(path_ + "\n/no/such/file\n");
    CloseWrite();
  }
  void OnData(sluice::Input& in) override { text_ += in.TakeAll(); }
  void OnClose(sluice::CloseReason) override {
    std::printf("%s", text_.c_str());
    done_.count_down();
  }

 private:
  const std::string path_;
  std::string text_;
  std::latch& done_;
};

int main() {
  std::string path = "/tmp/guide.XXXXXX";
  const int fd = mkstemp(path.data());
  constexpr std::string_view kText = "what the file holds";
  if (fd < 0 || write(fd, kText.data(), kText.size()) < 0) return 1;
  std::latch done(1);
  sluice::Runtime runtime(sluice::Options{});
  runtime.Listen<FileServer>("127.0.0.1:0");
  if (!runtime.Start().ok()) return 1;
  const std::string address = runtime.Listening()[0];
  if (!sluice::Connect<Visitor>(runtime, address, absl::Seconds(5), path, &done).ok()) return 1;
  done.wait();
  runtime.Drain(absl::Seconds(5));
  close(fd);
  unlink(path.c_str());
}
