// Bytes that begin where a cache line does, so that no vector of them lies on two lines.
#pragma once

#include <cstddef>
#include <new>
#include <vector>

namespace moxie {

template <typename T>
struct CacheLineAllocator {
  using value_type = T;
  static constexpr std::align_val_t kAlignment{64};

  CacheLineAllocator() = default;
  template <typename Other>
  CacheLineAllocator(const CacheLineAllocator<Other>&) {}
  T* allocate(size_t count) { return static_cast<T*>(::operator new(count * sizeof(T), kAlignment)); }
  void deallocate(T* memory, size_t) { ::operator delete(memory, kAlignment); }
  bool operator==(const CacheLineAllocator&) const = default;
};
using AlignedBytes = std::vector<std::byte, CacheLineAllocator<std::byte>>;

}  // namespace moxie
