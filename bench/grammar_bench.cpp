// What structured output costs:
//
//   grammar_bench MODEL [SCHEMA-FILE] [--tokens N] [--rounds N] [--threads N] [--memory M] [--masks-only]
//
// Compiles a schema for the model's vocabulary, then writes documents under it token by token, drawing at random among
// what fits, and prints the time of a mask: when its states are new (the first document) and afterwards. Then the model
// answers, by turns free and held to the schema, and the answers' masks are made once more on their own: their share of
// the time of a free token is what the schema costs. With --masks-only MODEL needs a tokenizer only.
#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <random>
#include <sstream>

#include "format/weight_file.h"
#include "grammar/grammar_cache.h"
#include "grammar/token_grammar.h"
#include "moxie/engine.h"
#include "text/tokenizer.h"

using namespace moxie;

namespace {

using Clock = std::chrono::steady_clock;

constexpr const char* kSchema = R"({"type":"object","properties":{
  "name":{"type":"string","maxLength":40},"age":{"type":"integer","minimum":0,"maximum":120},
  "email":{"type":"string","format":"email"},"role":{"enum":["admin","user","guest"]},
  "address":{"type":"object","properties":{"street":{"type":"string"},"city":{"type":"string"},"zip":{"type":"string","pattern":"^[0-9]{5}$"}},
    "required":["street","city"],"additionalProperties":false},
  "tags":{"type":"array","items":{"type":"string"},"maxItems":5},"score":{"type":"number"},"active":{"type":"boolean"}},
  "required":["name","age","role","address","tags"],"additionalProperties":false})";

struct Settings {
  std::string model, schema = kSchema, memory;
  int64_t tokens = 96, rounds = 5;
  int threads = 0;
  bool masks_only = false;
};

[[noreturn]] void give_up(const std::string& why) {
  std::cerr << "grammar_bench: " << why << "\n";
  std::exit(1);
}

Settings settings_of(int count, char** arguments) {
  Settings settings;
  bool has_schema = false;
  for (int i = 1; i < count; ++i) {
    const std::string name = arguments[i];
    if (name == "--masks-only") {
      settings.masks_only = true;
    } else if (!name.starts_with("--")) {
      if (settings.model.empty()) {
        settings.model = name;
        continue;
      }
      std::ifstream in(name);
      if (has_schema || !in) give_up(name + " cannot be read as a schema");
      std::stringstream text;
      text << in.rdbuf();
      settings.schema = text.str();
      has_schema = true;
    } else {
      if (i + 1 == count) give_up(name + " wants a value");
      const std::string value = arguments[++i];
      if (name == "--tokens") {
        settings.tokens = std::atoll(value.c_str());
      } else if (name == "--rounds") {
        settings.rounds = std::atoll(value.c_str());
      } else if (name == "--threads") {
        settings.threads = std::atoi(value.c_str());
      } else if (name == "--memory") {
        settings.memory = value;
      } else {
        give_up(name + " is not known");
      }
    }
  }
  if (settings.model.empty() || settings.tokens < 8 || settings.rounds < 1)
    give_up("give a MODEL, --tokens of 8 or more, --rounds of 1 or more");
  return settings;
}

double microseconds(Clock::time_point since) {
  return std::chrono::duration<double, std::micro>(Clock::now() - since).count();
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

double mean(const std::vector<double>& values) {
  double sum = 0;
  for (const double value : values) sum += value;
  return sum / static_cast<double>(values.size());
}

std::string spread(const std::vector<double>& values, int digits) {
  return fmt::format("{:.{}f} ({:.{}f} - {:.{}f})", median(values), digits,
                     *std::min_element(values.begin(), values.end()), digits,
                     *std::max_element(values.begin(), values.end()), digits);
}

// The grammar's part of each token, in microseconds: the mask and the step.
std::vector<double> mask_times(const std::shared_ptr<const grammar::TokenGrammar>& compiled,
                               const std::vector<int32_t>& ids) {
  grammar::GrammarMatcher matcher(compiled);
  std::vector<double> times;
  for (const int32_t id : ids) {
    const auto begin = Clock::now();
    matcher.allowed();
    if (!matcher.accept(id)) give_up("an answer does not fit its schema");
    times.push_back(microseconds(begin));
  }
  return times;
}

// A document of tokens drawn among what fits, those that end a text as often as others: else texts would never end.
std::vector<double> write_document(const std::shared_ptr<const grammar::TokenGrammar>& compiled, std::mt19937& random) {
  grammar::GrammarMatcher matcher(compiled);
  std::vector<double> times;
  while (times.size() < 400) {
    auto begin = Clock::now();
    const auto words = matcher.allowed();
    const double mask = microseconds(begin);
    std::vector<int32_t> ids, ends;
    for (size_t w = 0; w < words.size(); ++w) {
      for (uint64_t bits = words[w]; bits != 0; bits &= bits - 1) {
        const int32_t id = static_cast<int32_t>(w * 64) + std::countr_zero(bits);
        const bool is_end = compiled->trie().text(id).find('"') != std::string_view::npos;
        (is_end ? ends : ids).push_back(id);
      }
    }
    if (ids.empty() || (!ends.empty() && random() % 2 == 0)) ids.swap(ends);
    if (ids.empty()) break;
    const int32_t id = ids[random() % ids.size()];
    begin = Clock::now();
    matcher.accept(id);
    times.push_back(mask + microseconds(begin));
  }
  return times;
}

struct Answer {
  std::vector<int32_t> ids;
  double token_ms = 0;  // between two tokens
};

Answer answer(Sequence& sequence, const std::vector<int32_t>& prompt, const GenerateOptions& options) {
  if (const auto empty = sequence.truncate(0); !empty.ok()) give_up(empty.error().message);
  std::vector<Clock::time_point> times;
  const auto result = sequence.generate(prompt, options, [&](const TokenEvent&) {
    times.push_back(Clock::now());
    return true;
  });
  if (!result.ok()) give_up(result.error().message);
  Answer out{result->ids};
  if (times.size() < 2) give_up("an answer has fewer than two tokens");
  out.token_ms = std::chrono::duration<double, std::milli>(times.back() - times.front()).count() /
                 static_cast<double>(times.size() - 1);
  return out;
}

void compare_decoding(const Settings& settings, const std::shared_ptr<const grammar::TokenTrie>& trie) {
  EngineOptions open;
  open.model = settings.model;
  open.threads = settings.threads;
  if (!settings.memory.empty()) open.memory = settings.memory;
  open.ctx_size = settings.tokens + 64;
  const auto engine = Engine::open(open);
  if (!engine.ok()) give_up(engine.error().message);
  const auto sequence = (*engine)->new_sequence();
  if (!sequence.ok()) give_up(sequence.error().message);
  const auto prompt = (*engine)->tokenize("A user of the system, as JSON:", true, false);
  if (!prompt.ok()) give_up(prompt.error().message);
  std::vector<double> free_ms, held_ms, shares, first_shares, ratios;
  for (int64_t round = 0; round <= settings.rounds; ++round) {
    GenerateOptions options;
    options.max_tokens = settings.tokens;
    options.sampling.seed = static_cast<uint64_t>(round + 1);
    options.sampling.ignore_eos = true;
    const Answer free = answer(**sequence, *prompt, options);
    options.sampling.ignore_eos = false;
    options.sampling.json_schema = settings.schema;
    const Answer held = answer(**sequence, *prompt, options);
    if (round == 0) continue;  // pages and caches become warm
    auto automaton = grammar::compile_grammar(grammar::GrammarKind::json_schema, settings.schema);
    const auto compiled = std::make_shared<const grammar::TokenGrammar>(std::move(*automaton), trie);
    first_shares.push_back(mean(mask_times(compiled, held.ids)) / 1000 / free.token_ms * 100);
    shares.push_back(mean(mask_times(compiled, held.ids)) / 1000 / free.token_ms * 100);
    free_ms.push_back(free.token_ms);
    held_ms.push_back(held.token_ms);
    ratios.push_back(held.token_ms / free.token_ms);
  }
  fmt::print("{} rounds of up to {} tokens; medians (least - most)\n", settings.rounds, settings.tokens);
  fmt::print("a token, free:               {} ms\n", spread(free_ms, 2));
  fmt::print("a token under the schema:    {} ms, ratio within a round {}\n", spread(held_ms, 2), spread(ratios, 3));
  fmt::print("masks of a first answer:     {} % of a free token\n", spread(first_shares, 3));
  fmt::print("masks of the same once more: {} % of a free token\n", spread(shares, 3));
}

}  // namespace

int main(int count, char** arguments) {
  const Settings settings = settings_of(count, arguments);
  const auto files = open_weights(settings.model);
  const auto tokenizer =
      files.ok() ? Tokenizer::create(files->tokenizer) : Result<std::unique_ptr<Tokenizer>>(files.error());
  if (!tokenizer.ok()) give_up(tokenizer.error().message);
  std::vector<std::string> texts(static_cast<size_t>((*tokenizer)->vocabulary_size()));
  for (size_t id = 0; id < texts.size(); ++id) texts[id] = (*tokenizer)->bytes(static_cast<int32_t>(id));
  auto begin = Clock::now();
  const auto trie = std::make_shared<const grammar::TokenTrie>(texts, (*tokenizer)->end_ids());
  fmt::print("vocabulary of {} tokens: tree of {} nodes in {:.1f} ms\n", texts.size(), trie->node_count(),
             microseconds(begin) / 1000);
  begin = Clock::now();
  auto automaton = grammar::compile_grammar(grammar::GrammarKind::json_schema, settings.schema);
  if (!automaton.ok()) give_up(automaton.error().message);
  fmt::print("schema of {} bytes: {} states in {:.1f} ms\n", settings.schema.size(), automaton->state_count(),
             microseconds(begin) / 1000);
  const auto compiled = std::make_shared<const grammar::TokenGrammar>(std::move(*automaton), trie);
  std::mt19937 random(1);
  for (int document = 0; document < 12; ++document) {
    std::vector<double> times = write_document(compiled, random);
    if (times.empty()) give_up("no token begins a document");
    fmt::print("document {:2}: {:3} tokens, a token {:.1f} us on average, {:.1f} median, {:.1f} at most\n",
               document + 1, times.size(), mean(times), median(times), *std::max_element(times.begin(), times.end()));
  }
  if (!settings.masks_only) compare_decoding(settings, trie);
  return 0;
}
