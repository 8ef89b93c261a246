// How much memory this machine, this process's control groups and this process itself have and use. Thread-safe.
// What a system does not tell is absent, never a failure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace moxie {

enum class HugePages { unknown, never, on_request, always };

struct MemoryInfo {
  std::optional<uint64_t> total_bytes;         // of the machine
  std::optional<uint64_t> available_bytes;     // what can be taken without swapping, by the kernel's estimate
  std::optional<uint64_t> cgroup_limit_bytes;  // the smallest limit of this process's control groups; absent: none
  std::optional<uint64_t> cgroup_room_bytes;  // the least that any of them leaves: limit - use + file cache it can drop
  std::optional<uint64_t> resident_bytes;     // of this process now
  std::optional<uint64_t> resident_peak_bytes;  // of this process so far
  HugePages huge_pages = HugePages::unknown;    // transparent ones; on_request: after madvise
  std::optional<uint64_t> huge_page_bytes;

  // min(total, control group limit); absent when neither is known.
  std::optional<uint64_t> limit_bytes() const;
  // min(available, room in the control groups); absent when neither is known.
  std::optional<uint64_t> room_bytes() const;
};

// This process on this machine; `root` is where /proc and /sys are found (tests bring their own tree).
MemoryInfo read_memory_info(const std::string& root = "");

}  // namespace moxie
