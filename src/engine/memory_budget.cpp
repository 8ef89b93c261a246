#include "engine/memory_budget.h"

#include <algorithm>
#include <charconv>
#include <iterator>
#include <system_error>

#include "core/fail.h"
#include "core/printable.h"

namespace moxie {
namespace {

constexpr double kMaxBytes = 9.2e18;  // below 2^63

struct Unit {
  std::string_view name;
  double bytes;
};
constexpr Unit kUnits[] = {
    {"", 1},         {"b", 1},        {"k", 0x1p10},   {"m", 0x1p20}, {"g", 0x1p30}, {"t", 0x1p40}, {"kib", 0x1p10},
    {"mib", 0x1p20}, {"gib", 0x1p30}, {"tib", 0x1p40}, {"kb", 1e3},   {"mb", 1e6},   {"gb", 1e9},   {"tb", 1e12},
};
constexpr std::string_view kForms = "write an amount (12G, 7.5GiB, 900MB), a share of this machine (60%), auto or all";

std::string lower_case_without_blanks(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == ' ' || c == '\t') continue;
    out += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  }
  return out;
}

Result<MemoryBudget> share_of_machine(std::string_view text, double share, const MemoryInfo& machine) {
  const auto limit = machine.limit_bytes();
  if (!limit) {
    return fail(ErrorCode::unavailable,
                "memory budget '{}': how much memory this machine has is not known here; give an amount, as 12G", text);
  }
  if (share > 100) {
    return fail(ErrorCode::invalid_argument, "memory budget '{}' is more than this machine has ({}); give at most 100%",
                text, human_bytes(*limit));
  }
  const auto bytes = static_cast<uint64_t>(static_cast<double>(*limit) * share / 100);
  return MemoryBudget{.kind = MemoryBudget::Kind::share,
                      .bytes = bytes,
                      .explanation = fmt::format("{}, {} of {}", human_bytes(bytes), text, human_bytes(*limit))};
}

Result<MemoryBudget> what_is_free(const MemoryInfo& machine) {
  const auto room = machine.room_bytes();
  if (!room)
    return fail(ErrorCode::unavailable,
                "memory budget auto: how much memory is free is not known here; give an amount, as 12G");
  const auto bytes = static_cast<uint64_t>(static_cast<double>(*room) * 0.9);
  return MemoryBudget{
      .kind = MemoryBudget::Kind::automatic,
      .bytes = bytes,
      .explanation = fmt::format("{}, 0.9 of the {} that are free here", human_bytes(bytes), human_bytes(*room))};
}

}  // namespace

Result<MemoryBudget> parse_memory(std::string_view text, const MemoryInfo& machine, BudgetFor whom) {
  const std::string word = lower_case_without_blanks(text);
  if (word == "auto") return what_is_free(machine);
  if (word == "all") {
    const uint64_t bytes = machine.limit_bytes().value_or(kNoBudget);
    return MemoryBudget{
        .kind = MemoryBudget::Kind::everything, .bytes = bytes, .explanation = "all experts in memory, as asked"};
  }
  const bool negative = word.starts_with('-');
  double number = 0;
  const char* const begin = word.data() + (negative ? 1 : 0);
  const char* const end = word.data() + word.size();
  const bool digit = begin != end && ((*begin >= '0' && *begin <= '9') || *begin == '.');
  const auto [stop, code] = std::from_chars(begin, end, number, std::chars_format::fixed);
  const std::string_view unit(stop, static_cast<size_t>(end - stop));
  const auto found = std::find_if(std::begin(kUnits), std::end(kUnits), [&](const Unit& u) { return u.name == unit; });
  const bool share = unit == "%";
  if (!digit || code == std::errc::invalid_argument || (!share && found == std::end(kUnits))) {
    return fail(ErrorCode::invalid_argument, "memory budget '{}' is none; {}", printable(text), kForms);
  }
  const double bytes = share ? number : number * found->bytes;
  if (code == std::errc::result_out_of_range || bytes > kMaxBytes) {
    return fail(ErrorCode::invalid_argument, "memory budget '{}' is more than any machine has; {}", printable(text),
                kForms);
  }
  if (negative || !(bytes > 0) || (!share && bytes < 1)) {
    return fail(ErrorCode::invalid_argument, "memory budget '{}' is {}; it must be positive; {}", printable(text),
                negative ? "negative" : "nothing", kForms);
  }
  if (share) return share_of_machine(word, number, machine);
  if (unit.empty() && bytes < 0x1p20) {
    return fail(ErrorCode::invalid_argument, "memory budget '{}' has no unit and is taken for bytes; did you mean {}G?",
                word, word);
  }
  const auto budget = static_cast<uint64_t>(bytes);
  if (const auto limit = machine.limit_bytes(); limit && budget > *limit && whom == BudgetFor::this_machine) {
    return fail(ErrorCode::invalid_argument,
                "memory budget '{}' ({}) is more than the {} that this {} has; give less, or auto", printable(text),
                human_bytes(budget), human_bytes(*limit),
                limit == machine.total_bytes ? "machine" : "process's control group");
  }
  return MemoryBudget{.kind = MemoryBudget::Kind::amount,
                      .bytes = budget,
                      .explanation = fmt::format("{}, as asked", human_bytes(budget))};
}

}  // namespace moxie
