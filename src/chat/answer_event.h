// What a model's answer consists of, piece by piece as it comes: text, reasoning, tool calls. Plain data: the parser of
// answers gives it, the wire formats write it.
#pragma once

#include <cstddef>
#include <string>

namespace moxie {

struct AnswerEvent {
  enum class Kind {
    text,            // `text` is a piece of the answer
    reasoning,       // of what the model says to itself
    call_begin,      // a tool call with `id` and `name`; its arguments follow
    call_arguments,  // `text` is a piece of the JSON text of its arguments
    call_end,
  };
  Kind kind = Kind::text;
  std::string text;
  size_t call = 0;  // which tool call, from 0; one ends before the next begins
  std::string id, name;
};

}  // namespace moxie
