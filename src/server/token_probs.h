// What the model thought of its tokens, for responses. Pure function.
#pragma once

#include <algorithm>

#include "engine/scheduler.h"
#include "server/chat_request.h"
#include "text/tokenizer.h"

namespace moxie::server {

inline TokenLogprob logprob_of(const TokenStep& step, const Tokenizer& tokenizer) {
  const auto made = [&](int32_t id, float logprob) {
    constexpr float kLogprobMin = -9999;  // JSON knows no infinity
    return TokenAlternative{.id = id,
                            .bytes = id < tokenizer.vocabulary_size() ? tokenizer.bytes(id, true) : std::string(),
                            .logprob = std::max(logprob, kLogprobMin)};
  };
  TokenLogprob logprob{.token = made(step.id, step.logprob), .top = {}};
  for (const TokenProb& each : step.top) logprob.top.push_back(made(each.id, each.logprob));
  return logprob;
}

}  // namespace moxie::server
