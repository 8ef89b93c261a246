// Opens the model named on the command line and prints eight greedy tokens of text.
#include <iostream>

#include "moxie/engine.h"

template <typename T>
T take(moxie::Result<T> result) {
  if (result.ok()) return std::move(*result);
  std::cerr << result.error().message << "\n";
  std::exit(moxie::exit_code(result.error().code));
}

int main(int, char** arguments) {
  const auto engine = take(moxie::Engine::open({.model = arguments[1]}));
  const auto sequence = take(engine->new_sequence());
  moxie::GenerateOptions options;
  options.max_tokens = 8;
  options.sampling.temp = 0;
  const auto prompt = take(engine->tokenize("Once upon a time", true, false));
  std::cout << take(sequence->generate(prompt, options)).text << "\n";
}
