// Writing numbers as they lie in memory, which is little-endian on every machine this runs on: the other side of
// ByteReader.
#pragma once

#include <bit>
#include <cstring>
#include <string>
#include <type_traits>

namespace moxie {

template <typename T>
void append_number(std::string& to, T value) {
  static_assert(std::is_arithmetic_v<T> && std::endian::native == std::endian::little);
  char bytes[sizeof value];
  std::memcpy(bytes, &value, sizeof value);
  to.append(bytes, sizeof value);
}

}  // namespace moxie
