// How a conversation is written for a model while its own template is not rendered: one of a few well-known wrappings,
// chosen by the template's text or the vocabulary. Pure functions.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace moxie {

enum class Wrapping { mistral_v1, mistral_v3, llama_2, llama_3, chatml, alpaca };

struct WrappingChoice {
  Wrapping wrapping = Wrapping::alpaca;
  std::string why;  // for the announcement: "the template has <|im_start|>"
};

// `model_name` as the file gives it (general.name, or the folder's name).
WrappingChoice choose_wrapping(const Tokenizer& tokenizer, std::string_view chat_template, std::string_view model_name);
std::string_view name(Wrapping wrapping);  // "Mistral v1", "ChatML", "Alpaca"

// What to append to the context so that the model answers the user. `first` turns begin the context (BOS where the
// model has it) and alone may carry a system text. Control tokens written out in user and system stay text.
struct Turn {
  std::string_view user, system;
  bool first = false;
};
std::vector<int32_t> turn_ids(const Tokenizer& tokenizer, Wrapping wrapping, const Turn& turn);

// What stands between an answer and the next turn, the end token first; the model's own end token is not in the
// context.
std::vector<int32_t> answer_end_ids(const Tokenizer& tokenizer, Wrapping wrapping);
// Texts that mean that the model goes on with the next turn by itself.
std::vector<std::string> stop_texts(Wrapping wrapping);

}  // namespace moxie
