// Requests that go on with a prompt as it is: OpenAI's completions and llama.cpp's /completion read the same fields.
// Plain data and pure functions.
#pragma once

#include <string>
#include <vector>

#include "core/json.h"
#include "engine/scheduler.h"
#include "server/prompt_input.h"
#include "server/service.h"

namespace moxie::server {

struct CompletionRequest {
  PromptInputs prompts;
  std::string prompt_text;  // where the one prompt was a text
  GenerateOptions generate;
  std::string model;
  bool stream = false, include_usage = false, echo = false;
  bool cache_prompt = true, return_tokens = false, return_progress = false, timings_per_token = false;
  bool post_sampling_probs = false;
  int choices = 1;   // for each prompt
  int n_probs = -1;  // alternatives for each token; -1: no probabilities
  int slot = -1;
  Json response_fields;  // null, or a list of names
};

enum class CompletionStyle { openai, native };
// Errors: invalid_argument, naming the field; not_found, another model.
Result<CompletionRequest> read_completion(const Service& service, const Json& body, CompletionStyle style);
// The same with prompts that are known already.
Result<CompletionRequest> read_completion(const Service& service, const Json& body, CompletionStyle style,
                                          PromptInputs prompts);
// What the scheduler gets, the choices of the first prompt first.
std::vector<GenerateRequest> generations_of(const CompletionRequest& request, const std::string& id);

}  // namespace moxie::server
