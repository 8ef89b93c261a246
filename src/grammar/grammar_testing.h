// Tests only: does a grammar accept a text, byte by byte?
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "grammar/gbnf.h"
#include "grammar/state_sets.h"

namespace moxie::grammar {

inline bool accepts(const Automaton& automaton, std::string_view text) {
  StateSets sets(automaton);
  SetId set = sets.start();
  for (const char c : text) set = sets.step(set, static_cast<uint8_t>(c));
  return sets.ends(set);
}

// What keeps `text` from being compiled as GBNF; empty: nothing.
inline std::string gbnf_error(std::string_view text) {
  const auto grammar = parse_gbnf(text);
  if (!grammar.ok()) return grammar.error().message;
  const auto automaton = Automaton::compile(*grammar);
  return automaton.ok() ? "" : automaton.error().message;
}

inline bool gbnf_accepts(std::string_view grammar_text, std::string_view text) {
  const auto grammar = parse_gbnf(grammar_text);
  if (!grammar.ok()) return false;
  const auto automaton = Automaton::compile(*grammar);
  return automaton.ok() && accepts(*automaton, text);
}

}  // namespace moxie::grammar
