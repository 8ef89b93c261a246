// What the tests of this folder share.
#pragma once

#include <gtest/gtest.h>

#include <string_view>
#include <utility>

#include "core/json.h"

namespace moxie {

// The JSON that a test has written out; a failure of the test where it is none.
inline Json json(std::string_view text) {
  auto parsed = parse_json(text, "test");
  EXPECT_TRUE(parsed.ok()) << text;
  return parsed.ok() ? *std::move(parsed) : Json();
}

}  // namespace moxie
