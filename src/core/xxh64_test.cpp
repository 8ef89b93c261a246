#include "core/xxh64.h"

#include <gtest/gtest.h>

#include <vector>

namespace moxie {
namespace {

struct Known {
  size_t bytes;
  uint64_t hash;
};

// From the package xxhash 3 of Python, for the bytes of known_bytes().
constexpr Known kKnown[] = {
    {0, 0xef46db3751d8e999u},   {1, 0xe934a84adb052768u},    {3, 0x9d966a97baccf29au},    {4, 0xc65f94d12ce17d30u},
    {5, 0xeb3be90e46147ef5u},   {7, 0x7c81f6cd3e2a8029u},    {8, 0xa5dcb0145d06632du},    {11, 0xeb8a1e2f4006c41eu},
    {12, 0xa8bba6d0a8ea126au},  {15, 0xf0c4b1e48c75e6e2u},   {16, 0xdebf2dca267558dau},   {31, 0xd610127beede5531u},
    {32, 0x0e7d099a4854b6fbu},  {33, 0x21d6e29a6df46941u},   {39, 0xbd50ee0cd71841b6u},   {44, 0xb71154a990bc895du},
    {63, 0x63576985004a9218u},  {64, 0x0ca18d2d859e98cdu},   {65, 0xa7fa73fe3c869a78u},   {100, 0x447ea324743ed8f5u},
    {255, 0x44c10c66d65c671cu}, {1000, 0x9d2ef75a444d7817u}, {4096, 0x5e850024ded51594u}, {100003, 0x4a480340ef453020u},
};

std::vector<std::byte> known_bytes(size_t count) {
  std::vector<std::byte> bytes(count);
  for (size_t i = 0; i < count; ++i) bytes[i] = static_cast<std::byte>((i * i * 31 + i * 7 + (i >> 3)) & 255);
  return bytes;
}

TEST(Xxh64, KnownValues) {
  for (const Known& known : kKnown) EXPECT_EQ(xxh64(known_bytes(known.bytes)), known.hash) << known.bytes;
}

TEST(Xxh64, PiecesOfAnySizeGiveTheSame) {
  const std::vector<std::byte> bytes = known_bytes(4096);
  for (size_t piece = 1; piece < 200; ++piece) {
    Xxh64 hash;
    for (size_t at = 0; at < bytes.size(); at += piece) {
      hash.update(std::span(bytes).subspan(at, std::min(piece, bytes.size() - at)));
    }
    EXPECT_EQ(hash.digest(), 0x5e850024ded51594u) << piece;
  }
}

}  // namespace
}  // namespace moxie
