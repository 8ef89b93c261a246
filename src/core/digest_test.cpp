#include "core/digest.h"

#include <gtest/gtest.h>

namespace moxie {
namespace {

template <typename Digest>
std::string digest(std::string_view text, size_t piece) {
  Digest digest;
  for (size_t i = 0; i < text.size(); i += piece) digest.update(text.substr(i, piece));
  return digest.hex();
}

// Examples of FIPS 180-4, and others computed by Python's hashlib.
TEST(Digest, ExamplesOfTheStandard) {
  EXPECT_EQ(digest<Sha256>("", 1), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(digest<Sha256>("abc", 3), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(digest<Sha1>("", 1), "da39a3ee5e6b4b0d3255bfef95601890afd80709");
  EXPECT_EQ(digest<Sha1>("abc", 3), "a9993e364706816aba3e25717850c26c9cd0d89d");
  const std::string million(1000000, 'a');
  EXPECT_EQ(digest<Sha256>(million, 4096), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
  EXPECT_EQ(digest<Sha1>(million, 4096), "34aa973cd4c4daa4f61eeb2bdbad27316534016f");
}

TEST(Digest, AnyPiecesAndAnyLengthAroundABlock) {
  std::string text;
  for (int length = 0; length < 200; ++length) {
    const std::string whole = digest<Sha256>(text, 1000), whole1 = digest<Sha1>(text, 1000);
    for (const size_t piece : {1, 3, 63, 64, 65}) {
      EXPECT_EQ(digest<Sha256>(text, piece), whole) << length << " in " << piece;
      EXPECT_EQ(digest<Sha1>(text, piece), whole1) << length << " in " << piece;
    }
    text += static_cast<char>('a' + length % 26);
  }
  // Of all 200 letters, as hashlib computes it.
  EXPECT_EQ(digest<Sha256>(text, 7), "8013a82140d916576e2cf550b27449a368abec66cc154a7d9f599019d33aa3d2");
  EXPECT_EQ(digest<Sha1>(text, 7), "0e43b981f4ae2c16bc6a798920eb9f1490c3d7fc");
}

}  // namespace
}  // namespace moxie
