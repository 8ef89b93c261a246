#include "core/prefault.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

#include "core/buffer.h"

namespace moxie {
namespace {

// How many pages of `buffer` have memory behind them; -1: the system does not tell.
int64_t pages_in_memory(const Buffer& buffer) {
#ifdef __linux__
  std::vector<unsigned char> pages(buffer.bytes() / static_cast<uint64_t>(::sysconf(_SC_PAGESIZE)));
  if (::mincore(buffer.data(), buffer.bytes(), pages.data()) != 0) return -1;
  return std::count_if(pages.begin(), pages.end(), [](unsigned char page) { return (page & 1) != 0; });
#else
  static_cast<void>(buffer);
  return -1;
#endif
}

// Whether the system can be asked for pages before they are touched.
bool can_take_pages() {
#ifdef MADV_POPULATE_WRITE
  const Buffer page = Buffer::allocate(4096).value();
  return ::madvise(page.data(), page.bytes(), MADV_POPULATE_WRITE) == 0;
#else
  return false;
#endif
}

TEST(Prefault, TakesPagesAndChangesNothing) {
  const Buffer buffer = Buffer::allocate(uint64_t{48} << 20).value();
  buffer.data()[5] = std::byte{7};
  Prefault prefault({buffer.data(), buffer.bytes()}, 2);
  prefault.wait(buffer.bytes());
  if (can_take_pages()) {
    const int64_t taken = pages_in_memory(buffer);
    if (taken >= 0) {
      EXPECT_EQ(taken, static_cast<int64_t>(buffer.bytes()) / ::sysconf(_SC_PAGESIZE));
    }
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
