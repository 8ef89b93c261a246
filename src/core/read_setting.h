// How a drive is read: in pieces of how many bytes, and how many of them at once.
#pragma once

#include <cstdint>

namespace moxie {

struct ReadSetting {
  uint64_t piece_bytes = 0;
  int depth = 0;
  uint64_t bytes_in_flight() const { return piece_bytes * static_cast<uint64_t>(depth); }
  friend bool operator==(const ReadSetting&, const ReadSetting&) = default;
};

}  // namespace moxie
