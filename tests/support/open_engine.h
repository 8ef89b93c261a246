// Engine::open for tests: with MOXIE_TEST_CPU_TARGET set, on that CPU target unless the test names one (./dev test
// --all).
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <memory>
#include <utility>

#include "moxie/engine.h"

namespace moxie::test {

inline Result<std::unique_ptr<Engine>> open_engine(EngineOptions options) {
  const char* forced = std::getenv("MOXIE_TEST_CPU_TARGET");
  if (forced == nullptr || !options.cpu_target.empty()) return Engine::open(options);
  options.cpu_target = forced;
  auto engine = Engine::open(options);
  if (engine.ok()) {
    EXPECT_EQ((*engine)->runtime().cpu_target, forced);
  }
  return engine;
}

}  // namespace moxie::test
