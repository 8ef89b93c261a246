// Memory budgets as users write them. Plain data, plain functions.
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>

#include "core/memory_info.h"
#include "moxie/error.h"

namespace moxie {

inline constexpr uint64_t kNoBudget = std::numeric_limits<uint64_t>::max();

struct MemoryBudget {
  enum class Kind : uint8_t { amount, share, automatic, everything };
  Kind kind = Kind::automatic;
  uint64_t bytes = 0;       // everything: the machine's limit
  std::string explanation;  // "12.0 GiB, as asked"; "0.9 of the 21.9 GiB that are free here"
};

// For whom a budget is: amounts above this machine's memory are refused, unless the budget is only thought about.
enum class BudgetFor : uint8_t { this_machine, any_machine };

// "12G", "7.5GiB", "900MB" (K, M, G, T and KiB, MiB, GiB, TiB are powers of 1024, KB, MB, GB, TB of 1000; no unit:
// bytes), "60%" of min(memory, control group limit), "auto" = 0.9 x min(available, room in the control groups), "all".
// Upper or lower case. Errors: invalid_argument for what is none of these, zero, negative, or more than the machine
// has.
Result<MemoryBudget> parse_memory(std::string_view text, const MemoryInfo& machine,
                                  BudgetFor whom = BudgetFor::this_machine);

}  // namespace moxie
