#include "sluice/sim/run/seeds.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "sluice/core/base/strings.h"

namespace sluice::sim {

namespace {

constexpr size_t kLinesShown = 60;
constexpr absl::string_view kFaultPrefix = "faults.";

}  // namespace

std::string Setup::ToText(const Faults& usual) const {
  std::string text = absl::StrCat("seed=", seed);
  for (const auto& [name, amount] : amounts) absl::StrAppend(&text, ",", name, "=", amount);
  for (const FaultName& fault : kFaultNames) {
    if (faults.*fault.chance == usual.*fault.chance) continue;
    absl::StrAppend(&text, ",", kFaultPrefix, fault.name, "=", faults.*fault.chance);
  }
  return text;
}

absl::Status Setup::Apply(std::string_view text) {
  for (absl::string_view part : absl::StrSplit(ToAbsl(text), ',', absl::SkipEmpty())) {
    const std::pair<absl::string_view, absl::string_view> named =
        absl::StrSplit(part, absl::MaxSplits('=', 1));
    absl::string_view name = named.first;
    int64_t amount = 0;
    const bool parsed = name == "seed" ? absl::SimpleAtoi(named.second, &seed)
                                       : absl::SimpleAtoi(named.second, &amount) && amount >= 0;
    if (!parsed || name.empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat("'", part, "' is not NAME=NUMBER: clients=1 or faults.reset=0"));
    }
    if (name == "seed") continue;
    if (absl::ConsumePrefix(&name, kFaultPrefix)) {
      const FaultName* const found =
          std::ranges::find(kFaultNames, std::string(name), &FaultName::name);
      if (found == std::end(kFaultNames)) {
        return absl::InvalidArgumentError(absl::StrCat("there is no fault '", name, "'"));
      }
      faults.*found->chance = static_cast<uint32_t>(std::min<int64_t>(amount, 1'000'000));
    } else {
      amounts[std::string(name)] = amount;
    }
  }
  return absl::OkStatus();
}

Outcome RunOnce(const Setup& setup, const Body& body, const TraceOptions& trace) {
  Outcome outcome;
  Simulation simulation(setup.seed, setup.faults, setup.amounts);
  if (trace.keep_lines) simulation.trace().KeepLines();
  if (!trace.path.empty()) outcome.trace_file = simulation.trace().WriteTo(trace.path);
  if (!outcome.trace_file.ok()) return outcome;
  const int64_t start_ns = simulation.NowNs();
  body(simulation);
  outcome.violation = simulation.violation();
  outcome.hash = simulation.trace().Hash();
  outcome.events = simulation.trace().Events();
  outcome.virtual_ns = simulation.NowNs() - start_ns;
  outcome.amounts = simulation.amounts();
  outcome.last_lines = simulation.trace().LastLines(kLinesShown);
  outcome.trace_file = simulation.trace().EndFile();
  return outcome;
}

Faults FaultsOf(uint64_t seed, const Faults& most) {
  Faults faults = most;
  Random random(seed ^ 0xFA017u);
  for (const FaultName& fault : kFaultNames) {
    uint32_t& chance = faults.*fault.chance;
    switch (random.Below(4)) {
      case 0:
        chance = 0;
        break;
      case 1:
        chance = static_cast<uint32_t>(std::min<uint64_t>(uint64_t{chance} * 4, 500'000));
        break;
      default:
        break;
    }
  }
  return faults;
}

Setup Shrink(const Setup& failing, const Body& body, int runs_max) {
  Setup least = failing;
  Amounts asked;  // Amounts drawn in the run of `least`.
  const auto still_fails = [&](const Setup& setup) {
    if (runs_max-- <= 0) return false;
    Outcome outcome = RunOnce(setup, body);
    if (outcome.violation.empty()) return false;
    least = setup;
    asked = std::move(outcome.amounts);
    // Record the amounts that were used, not those that were tried: a body has its own minima.
    for (auto& [name, amount] : least.amounts) {
      if (const auto found = asked.find(name); found != asked.end()) amount = found->second;
    }
    return true;
  };
  still_fails(failing);
  for (const FaultName& fault : kFaultNames) {
    Setup without = least;
    if (std::exchange(without.faults.*fault.chance, 0) != 0) still_fails(without);
  }
  for (bool less = true; less && runs_max > 0;) {
    less = false;
    for (const auto& [name, before] : Amounts(asked)) {
      const int64_t amount = asked[name];  // Shrinking another amount may have changed it.
      // Try none, then half, then one less.
      for (const int64_t tried : {int64_t{0}, amount / 2, amount - 1}) {
        if (tried < 0 || tried >= amount) continue;
        Setup smaller = least;
        smaller.amounts[name] = tried;
        if (still_fails(smaller)) {
          less |= least.amounts[name] < amount;
          break;
        }
      }
    }
  }
  return least;
}

}  // namespace sluice::sim
