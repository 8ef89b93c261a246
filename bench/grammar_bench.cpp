// What structured output costs: grammar_bench MODEL [SCHEMA-FILE]. Compiles a schema for the model's vocabulary, then
// writes documents under it token by token, drawing at random among what fits, and prints the time of a mask: when its
// states are new (the first document) and afterwards. MODEL needs a tokenizer only.
#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <chrono>
#include <fstream>
#include <iostream>
#include <random>
#include <sstream>

#include "format/weight_file.h"
#include "grammar/grammar_cache.h"
#include "grammar/token_grammar.h"
#include "text/tokenizer.h"

using namespace moxie;

namespace {

constexpr const char* kSchema = R"({"type":"object","properties":{
  "name":{"type":"string","maxLength":40},"age":{"type":"integer","minimum":0,"maximum":120},
  "email":{"type":"string","format":"email"},"role":{"enum":["admin","user","guest"]},
  "address":{"type":"object","properties":{"street":{"type":"string"},"city":{"type":"string"},"zip":{"type":"string","pattern":"^[0-9]{5}$"}},
    "required":["street","city"],"additionalProperties":false},
  "tags":{"type":"array","items":{"type":"string"},"maxItems":5},"score":{"type":"number"},"active":{"type":"boolean"}},
  "required":["name","age","role","address","tags"],"additionalProperties":false})";

double microseconds(std::chrono::steady_clock::time_point since) {
  return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - since).count();
}

}  // namespace

int main(int count, char** arguments) {
  if (count < 2) {
    std::cerr << "usage: grammar_bench MODEL [SCHEMA-FILE]\n";
    return 2;
  }
  std::string schema = kSchema;
  if (count > 2) {
    std::ifstream in(arguments[2]);
    std::stringstream text;
    text << in.rdbuf();
    schema = text.str();
  }
  const auto files = open_weights(arguments[1]);
  const auto tokenizer =
      files.ok() ? Tokenizer::create(files->tokenizer) : Result<std::unique_ptr<Tokenizer>>(files.error());
  if (!tokenizer.ok()) {
    std::cerr << tokenizer.error().message << "\n";
    return 1;
  }
  std::vector<std::string> texts(static_cast<size_t>((*tokenizer)->vocabulary_size()));
  for (size_t id = 0; id < texts.size(); ++id) texts[id] = (*tokenizer)->bytes(static_cast<int32_t>(id));
  auto begin = std::chrono::steady_clock::now();
  const auto trie = std::make_shared<const grammar::TokenTrie>(texts, (*tokenizer)->end_ids());
  fmt::print("vocabulary of {} tokens: tree of {} nodes in {:.1f} ms\n", texts.size(), trie->node_count(),
             microseconds(begin) / 1000);
  begin = std::chrono::steady_clock::now();
  auto automaton = grammar::compile_grammar(grammar::GrammarKind::json_schema, schema);
  if (!automaton.ok()) {
    std::cerr << automaton.error().message << "\n";
    return 1;
  }
  fmt::print("schema of {} bytes: {} states in {:.1f} ms\n", schema.size(), automaton->state_count(),
             microseconds(begin) / 1000);
  const auto compiled = std::make_shared<const grammar::TokenGrammar>(std::move(*automaton), trie);
  std::mt19937 random(1);
  for (int document = 0; document < 12; ++document) {
    grammar::GrammarMatcher matcher(compiled);
    std::vector<double> times;
    while (times.size() < 400) {
      begin = std::chrono::steady_clock::now();
      const auto words = matcher.allowed();
      std::vector<int32_t> ids;
      const double mask = microseconds(begin);
      for (size_t w = 0; w < words.size(); ++w) {
        for (uint64_t bits = words[w]; bits != 0; bits &= bits - 1) {
          ids.push_back(static_cast<int32_t>(w * 64) + std::countr_zero(bits));
        }
      }
      if (ids.empty()) break;
      const int32_t id = ids[random() % ids.size()];
      begin = std::chrono::steady_clock::now();
      matcher.accept(id);
      times.push_back(mask + microseconds(begin));
    }
    double sum = 0;
    for (const double time : times) sum += time;
    const double mean = sum / static_cast<double>(times.size());
    std::sort(times.begin(), times.end());
    fmt::print("document {:2}: {:3} tokens, a token {:.1f} us on average, {:.1f} median, {:.1f} at most\n",
               document + 1, times.size(), mean, times[times.size() / 2], times.back());
  }
  return 0;
}
