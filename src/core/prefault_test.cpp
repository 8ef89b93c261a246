#include "core/prefault.h"

#include <gtest/gtest.h>

#include "core/buffer.h"
#include "core/memory_info.h"

namespace moxie {
namespace {

TEST(Prefault, TakesPagesAndChangesNothing) {
  const Buffer buffer = Buffer::allocate(uint64_t{48} << 20).value();
  buffer.data()[5] = std::byte{7};
  const uint64_t before = read_memory_info().resident_bytes.value_or(0);
  Prefault prefault({buffer.data(), buffer.bytes()}, 2);
  prefault.wait(buffer.bytes());
  if (before > 0) {
    EXPECT_GE(read_memory_info().resident_bytes.value_or(0) + (4 << 20), before + buffer.bytes());
  }
  EXPECT_EQ(buffer.data()[5], std::byte{7});
  EXPECT_EQ(buffer.data()[buffer.bytes() - 1], std::byte{0});
}

TEST(Prefault, StopsInTheMiddle) {
  const Buffer buffer = Buffer::allocate(uint64_t{1} << 30).value();
  Prefault prefault({buffer.data(), buffer.bytes()}, 1);
  prefault.wait(1);
}

TEST(Prefault, NothingToDo) {
  Prefault prefault({}, 2);
  prefault.wait(0);
}

}  // namespace
}  // namespace moxie
