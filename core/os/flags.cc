#include "sluice/core/os/flags.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <map>

#include "absl/flags/parse.h"
#include "absl/flags/reflection.h"
#include "absl/flags/usage.h"
#include "absl/flags/usage_config.h"
#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "sluice/core/base/strings.h"
#include "sluice/core/os/version.h"

namespace sluice {
namespace {

constexpr size_t kHelpColumns = 90;

std::string NameOfProgram(const char* path) {
  const std::string_view text = path == nullptr ? "" : path;
  return std::string(text.substr(text.rfind('/') + 1));  // npos + 1 is 0.
}

// "      " before each line; lines break between words.
std::string Paragraph(absl::string_view text) {
  std::string lines;
  size_t column = kHelpColumns;
  for (const absl::string_view word : absl::StrSplit(text, ' ', absl::SkipEmpty())) {
    if (column + 1 + word.size() > kHelpColumns) {
      absl::StrAppend(&lines, lines.empty() ? "      " : "\n      ", word);
      column = 6 + word.size();
    } else {
      absl::StrAppend(&lines, " ", word);
      column += 1 + word.size();
    }
  }
  return lines + "\n";
}

// The program's own flags and the common ones; with `all` those of Abseil, too.
std::string Help(const std::string& program, bool all) {
  std::string text = absl::StrCat("usage: ", program, " [--FLAG=VALUE ...]\n",
                                  absl::ProgramUsageMessage(), "\n\n");
  const auto flags = absl::GetAllFlags();
  // By name: a hash map has no order.
  const std::map<absl::string_view, absl::CommandLineFlag*> sorted(flags.begin(), flags.end());
  for (const auto& [name, flag] : sorted) {
    if (!all && absl::StrContains(flag->Filename(), "absl/")) continue;
    absl::StrAppend(&text, "  --", name, "=", flag->DefaultValue(), "\n", Paragraph(flag->Help()));
  }
  return text;
}

[[noreturn]] void RefuseAndExit(const std::string& text) {
  std::fprintf(stderr, "error: %s; --help lists the flags\n", text.c_str());
  std::exit(1);
}

// Abseil prints an argument as it is, so that a control character in it reaches the terminal, and
// does not say where the flags are listed. `argument` begins with '-'. Answers the flag that it
// names; nullptr: "--" or a word for another program.
const absl::CommandLineFlag* FlagOf(absl::string_view argument) {
  absl::string_view name = argument.substr(0, argument.find('='));
  while (absl::ConsumePrefix(&name, "-")) {
  }
  const absl::CommandLineFlag* flag = absl::FindCommandLineFlag(name);
  absl::string_view positive = name;
  if (flag == nullptr && absl::ConsumePrefix(&positive, "no")) {
    flag = absl::FindCommandLineFlag(positive);
    if (flag != nullptr && !flag->IsOfType<bool>()) flag = nullptr;
  }
  if (flag == nullptr) RefuseAndExit(absl::StrCat("no flag is named --", name));
  return flag;
}

bool HasControlCharacter(std::string_view argument) {
  return std::any_of(argument.begin(), argument.end(),
                     [](char c) { return absl::ascii_iscntrl(static_cast<unsigned char>(c)); });
}

void CheckNames(int argc, char** argv) {
  bool is_value = false;  // Of the flag before it.
  for (int i = 1; i < argc; ++i) {
    const absl::string_view argument = argv[i];
    if (argument == "--" && !is_value) return;
    if (HasControlCharacter(argv[i])) {
      RefuseAndExit(absl::StrCat("an argument has a control character: \"",
                                 absl::CHexEscape(argument), "\""));
    }
    if (is_value || argument.size() < 2 || argument[0] != '-') {
      is_value = false;
      continue;
    }
    is_value = !FlagOf(argument)->IsOfType<bool>() && !absl::StrContains(argument, '=');
  }
}

[[noreturn]] void PrintAndExit(const std::string& text) {
  std::fputs(text.c_str(), stdout);
  std::exit(0);
}

}  // namespace

std::vector<std::string> ParseFlags(int argc, char** argv, std::string_view usage) {
  const std::string program = NameOfProgram(argv[0]);
  const std::string version = absl::StrCat(program, " (Sluice ", kVersion, ")\n");
  // Abseil ends a process that sets the message twice: the program may have its own, or call this
  // again.
  if (absl::StartsWith(absl::ProgramUsageMessage(), "Warning: SetProgramUsageMessage() never")) {
    absl::SetProgramUsageMessage(ToAbsl(usage));
  }
  absl::FlagsUsageConfig config;
  config.version_string = [version] { return version; };
  config.contains_help_flags = [](absl::string_view file) {
    return !absl::StrContains(file, "absl/");
  };
  absl::SetFlagsUsageConfig(config);
  // Before Abseil parses: Abseil ends with code 1 after its help, does not know -h, and would
  // report a wrong flag instead.
  for (int i = 1; i < argc && std::string_view(argv[i]) != "--"; ++i) {
    const std::string_view argument = argv[i];
    if (argument == "-h" || argument == "--help" || argument == "-help") {
      PrintAndExit(Help(program, /*all=*/false));
    }
    if (argument == "--helpfull" || argument == "-helpfull")
      PrintAndExit(Help(program, /*all=*/true));
    if (argument == "--version" || argument == "-version") PrintAndExit(version);
  }
  CheckNames(argc, argv);
  const std::vector<char*> rest = absl::ParseCommandLine(argc, argv);
  return {rest.begin() + 1, rest.end()};
}

bool AbslParseFlag(absl::string_view text, ByteCount* value, std::string* error) {
  const std::string lower = absl::AsciiStrToLower(text);
  absl::string_view number = lower;
  const bool in_bytes = absl::ConsumeSuffix(&number, "b");
  const bool binary = in_bytes && absl::ConsumeSuffix(&number, "i");
  int shift = 0;
  constexpr absl::string_view kUnits = "kmgt";
  if (const size_t unit = number.empty() ? kUnits.npos : kUnits.find(number.back());
      unit != kUnits.npos) {
    shift = 10 * static_cast<int>(unit + 1);
    number.remove_suffix(1);
  }
  int64_t count = 0;
  if ((!binary || shift > 0) && absl::SimpleAtoi(number, &count) && count >= 0 &&
      count <= INT64_MAX >> shift) {
    value->bytes = count << shift;
    return true;
  }
  *error = "it must be a number of bytes such as 67108864, 64M, 64MiB or 1GB";
  return false;
}

std::string AbslUnparseFlag(ByteCount value) { return absl::StrCat(value.bytes); }

bool AbslParseFlag(absl::string_view text, TimeSpan* span, std::string* error) {
  double seconds = 0;
  if (absl::ParseDuration(text, &span->value)) return true;
  if (absl::SimpleAtod(text, &seconds) && !std::isnan(seconds)) {
    span->value = absl::Seconds(seconds);
    return true;
  }
  *error = "it must be a length of time such as 200ms, 5s, 2m or inf; 5 is 5s";
  return false;
}

std::string AbslUnparseFlag(TimeSpan span) { return absl::FormatDuration(span.value); }

}  // namespace sluice
