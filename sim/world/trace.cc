#include "sluice/sim/world/trace.h"

#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"

namespace sluice::sim {

namespace {

absl::Status CannotWrite(const std::string& path) {
  return absl::ErrnoToStatus(errno, absl::StrCat("cannot write ", path));
}

}  // namespace

Trace::~Trace() { EndFile().IgnoreError(); }

void Trace::Add(std::string_view bytes) {
  Add(uint64_t{bytes.size()});
  while (bytes.size() >= 8) {
    uint64_t word;
    std::memcpy(&word, bytes.data(), 8);
    Add(word);
    bytes.remove_prefix(8);
  }
  uint64_t rest = 0;
  if (!bytes.empty()) std::memcpy(&rest, bytes.data(), bytes.size());
  Add(rest);
}

absl::Status Trace::WriteTo(const std::string& path) {
  path_ = path;
  file_ = std::fopen(path.c_str(), "w");
  if (file_ == nullptr) {
    file_status_ = CannotWrite(path);
  } else {
    keeps_lines_ = true;
  }
  return file_status_;
}

absl::Status Trace::EndFile() {
  if (file_ != nullptr && std::fclose(std::exchange(file_, nullptr)) != 0) {
    file_status_ = CannotWrite(path_);
  }
  return file_status_;
}

void Trace::Line(std::string line) {
  if (file_ != nullptr && std::fprintf(file_, "%s\n", line.c_str()) < 0) {
    file_status_ = CannotWrite(path_);
    std::fclose(std::exchange(file_, nullptr));
  }
  if (had_last_) return;
  if (lines_.size() == kLinesMax) lines_.pop_front();
  lines_.push_back(std::move(line));
}

void Trace::LastLine(std::string line) {
  Line(std::move(line));
  had_last_ = true;
}

std::string Trace::LastLines(size_t most) const {
  std::string text;
  for (size_t i = lines_.size() > most ? lines_.size() - most : 0; i < lines_.size(); ++i) {
    absl::StrAppend(&text, lines_[i], "\n");
  }
  return text;
}

}  // namespace sluice::sim
