// The JSON Schema Test Suite and JSONTestSuite, where $MOXIE_TEST_DATA has them; a part of the
// first lies in tests/data/json-schema.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <set>
#include <sstream>

#include "core/json.h"
#include "grammar/grammar_testing.h"
#include "grammar/json_schema.h"
#include "grammar/schema_values.h"
#include "support/paths.h"

namespace moxie::grammar {
namespace {

namespace fs = std::filesystem;

std::string read(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

struct Layout {
  std::string comma = ",", colon = ":";
  int indent = -1;
};

// Where a value's text leads from a place in the grammar, with the names of its objects in whatever order fits: theirs
// first, then others as long as there are not too many. Numbers are written without exponent.
class Writer {
 public:
  Writer(const Automaton& automaton, Layout layout = {}) : sets_(automaton), layout_(std::move(layout)) {}

  bool accepts(const Json& json) {
    for (const Orders orders : {Orders::own, Orders::first_that_fits, Orders::all}) {
      orders_ = orders;
      steps_left_ = kStepsMax;
      const auto ends = write({sets_.start()}, json, 1);
      if (std::any_of(ends.begin(), ends.end(), [&](SetId set) { return sets_.ends(set); })) return true;
    }
    return false;
  }
  // Some orders were left out.
  bool cut_short() const { return steps_left_ == 0; }

 private:
  using Places = std::set<SetId>;
  enum class Orders : uint8_t { own, first_that_fits, all };
  static constexpr size_t kStepsMax = 12000;  // choices of a next name

  Places text(const Places& from, const std::string& text) {
    Places out;
    for (SetId set : from) {
      for (const char c : text) set = sets_.step(set, static_cast<uint8_t>(c));
      if (set != StateSets::kDead) out.insert(set);
    }
    return out;
  }
  std::string line(int depth) const {
    return layout_.indent < 0 ? "" : "\n" + std::string(static_cast<size_t>(layout_.indent * depth), ' ');
  }

  Places write(const Places& from, const Json& json, int depth) {
    if (from.empty()) return {};
    if (const auto number = Decimal::from(json)) return text(from, number->text());
    const bool empty = (json.array() && json.array()->empty()) || (json.object() && json.object()->empty());
    if (empty || (!json.array() && !json.object())) return text(from, to_text(json));
    if (const auto* list = json.array()) {
      Places at = text(from, "[");
      for (size_t i = 0; i < list->size(); ++i) {
        at = write(text(at, (i == 0 ? "" : layout_.comma) + line(depth)), (*list)[i], depth + 1);
      }
      return text(at, line(depth - 1) + "]");
    }
    return write_object(text(from, "{"), *json.object(), depth);
  }

  Places write_name(const Places& from, const JsonMember& member, bool first, int depth) {
    Json key;
    key.value = member.key;
    return text(from, (first ? "" : layout_.comma) + line(depth) + to_text(key) + layout_.colon);
  }
  Places write_member(const Places& from, const JsonMember& member, bool first, int depth) {
    return write(write_name(from, member, first, depth), member.value, depth + 1);
  }

  Places write_object(const Places& begin, const Json::Object& members, int depth) {
    if (orders_ == Orders::own) {
      Places at = begin;
      for (const JsonMember& member : members) at = write_member(at, member, &member == &members.front(), depth);
      return text(at, line(depth - 1) + "}");
    }
    using Used = std::vector<bool>;
    std::map<Used, Places> reached;
    std::vector<std::pair<Used, Places>> waiting = {{Used(members.size()), begin}};
    Places out;
    while (!waiting.empty() && steps_left_ > 0 && !(orders_ == Orders::first_that_fits && !out.empty())) {
      --steps_left_;
      auto [used, places] = std::move(waiting.back());
      waiting.pop_back();
      const bool first = std::find(used.begin(), used.end(), true) == used.end();
      struct Way {
        size_t member;
        Places after;
        size_t open;  // names that may still come
      };
      std::vector<Way> ways;
      for (size_t i = 0; i < members.size(); ++i) {
        if (used[i]) continue;
        Places after = write_member(places, members[i], first, depth);
        if (after == places) {
          used[i] = true;  // leads nowhere else: when it comes makes no difference
        } else if (!after.empty()) {
          ways.push_back({i, std::move(after), 0});
        }
      }
      for (Way& way : ways) {
        for (size_t i = 0; i < members.size(); ++i) {
          way.open += !used[i] && i != way.member && !write_name(way.after, members[i], false, depth).empty();
        }
      }
      std::stable_sort(ways.begin(), ways.end(), [](const Way& a, const Way& b) { return a.open < b.open; });
      if (std::find(used.begin(), used.end(), false) == used.end()) out.merge(text(places, line(depth - 1) + "}"));
      for (const Way& way : ways) {  // the last one is the next
        Used more = used;
        more[way.member] = true;
        Places& known = reached[more];
        Places fresh;
        for (const SetId set : way.after) {
          if (known.insert(set).second) fresh.insert(set);
        }
        if (!fresh.empty()) waiting.emplace_back(std::move(more), std::move(fresh));
      }
    }
    return out;
  }

  StateSets sets_;
  Layout layout_;
  Orders orders_ = Orders::own;
  size_t steps_left_ = kStepsMax;
};

struct Counts {
  size_t schemas = 0, refused = 0, valid = 0, invalid = 0, cut_short = 0, loose = 0;
  std::map<std::string, size_t> reasons;  // of refusals: the first words in quotes
  std::vector<std::string> wrong;

  void refuse(const std::string& message) {
    ++refused;
    const size_t open = message.find('\'');
    const size_t close = message.find('\'', open + 1);
    reasons[open == std::string::npos ? message.substr(0, 60) : message.substr(open, close - open + 1)] += 1;
  }
  void print(const std::string& what) const {
    std::cout << what << ": " << schemas << " schemas, " << refused << " refused by name, " << valid
              << " valid instances accepted, " << invalid << " invalid ones rejected (" << cut_short
              << " not in every order of their names), " << loose
              << " accepted though invalid, announced by a notice\n";
    for (const auto& [reason, count] : reasons) std::cout << "  refused " << count << ": " << reason << "\n";
    for (size_t i = 0; i < std::min<size_t>(wrong.size(), 40); ++i) std::cout << "  wrong: " << wrong[i] << "\n";
  }
};

void check(const std::string& name, const Json& schema, const Json& tests, Counts& counts) {
  ++counts.schemas;
  const auto parsed = parse_json_schema(to_text(schema));
  if (!parsed.ok()) {
    EXPECT_TRUE(parsed.error().code == ErrorCode::unsupported || parsed.error().code == ErrorCode::invalid_argument)
        << name << ": " << parsed.error().message;
    return counts.refuse(parsed.error().message);
  }
  const auto automaton = Automaton::compile(parsed->grammar);
  if (!automaton.ok()) {
    const bool has_valid = std::any_of(tests.array()->begin(), tests.array()->end(),
                                       [](const Json& test) { return *test.find("valid")->get_if<bool>(); });
    // A schema that allows nothing has no grammar.
    if (automaton.error().code == ErrorCode::invalid_argument && !has_valid) {
      counts.invalid += tests.array()->size();
      return;
    }
    if (automaton.error().code == ErrorCode::invalid_argument) {
      counts.wrong.push_back(name + ": " + automaton.error().message);
      return;
    }
    return counts.refuse(automaton.error().message);
  }
  for (const Json& test : *tests.array()) {
    const bool valid = *test.find("valid")->get_if<bool>();
    const Json& data = *test.find("data");
    Writer writer(*automaton);
    const bool accepted = writer.accepts(data);
    if (accepted == valid) {
      ++(valid ? counts.valid : counts.invalid);
      counts.cut_short += !accepted && writer.cut_short();
    } else if (accepted && !parsed->notices.empty()) {
      ++counts.loose;
    } else {
      counts.wrong.push_back(name + (valid ? ": rejects " : ": accepts ") + to_text(data).substr(0, 200));
    }
  }
}

// Files of `without` are left out; schemas that name no draft are of `draft`.
Counts run_suite(const fs::path& folder, const std::set<std::string>& without = {}, const std::string& draft = "") {
  Counts counts;
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.path().extension() == ".json" && !without.contains(entry.path().filename().string()))
      files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  for (const fs::path& file : files) {
    const auto groups = parse_json(read(file), file.string());
    if (!groups.ok()) {
      ADD_FAILURE() << groups.error().message;
      continue;
    }
    for (const Json& group : *groups->array()) {
      Json schema = *group.find("schema");
      if (!draft.empty() && schema.object() && schema.find("$schema") == nullptr) {
        Json named;
        named.value = draft;
        std::get<Json::Object>(schema.value).push_back({"$schema", named});
      }
      check(file.filename().string() + ": " + *group.find("description")->text(), schema, *group.find("tests"), counts);
    }
  }
  return counts;
}

const char* test_data() {
  return std::getenv("MOXIE_TEST_DATA");
}

TEST(JsonSchemaSuite, PartInThisRepository) {
  const Counts counts = run_suite(fs::path(source_dir()) / "tests/data/json-schema");
  counts.print("tests/data/json-schema");
  EXPECT_GT(counts.valid, 100u);
  EXPECT_GT(counts.invalid, 100u);
  EXPECT_EQ(counts.wrong.size(), 0u);
}

TEST(JsonSchemaSuite, Draft2020) {
  if (test_data() == nullptr) GTEST_SKIP() << "MOXIE_TEST_DATA is not set";
  const Counts counts =
      run_suite(fs::path(test_data()) / "json-schema/test-suite/draft2020-12",
                {"format.json", "vocabulary.json"});  // formats are checked here; no other vocabularies
  counts.print("draft 2020-12");
  EXPECT_EQ(counts.wrong.size(), 0u);
}

TEST(JsonSchemaSuite, Draft7) {
  if (test_data() == nullptr) GTEST_SKIP() << "MOXIE_TEST_DATA is not set";
  const Counts counts = run_suite(fs::path(test_data()) / "json-schema/test-suite/draft7", {"format.json"},
                                  "http://json-schema.org/draft-07/schema#");
  counts.print("draft 7");
  EXPECT_EQ(counts.wrong.size(), 0u);
}

TEST(JsonSchemaSuite, Formats) {
  if (test_data() == nullptr) GTEST_SKIP() << "MOXIE_TEST_DATA is not set";
  const Counts counts = run_suite(fs::path(test_data()) / "json-schema/test-suite/draft2020-12/optional/format");
  counts.print("formats");
  EXPECT_GT(counts.valid, 350u);
  // Not expressed: leap seconds in other zones, quoted local parts, addresses within URIs, the coding of host names.
  for (const std::string& wrong : counts.wrong) {
    const std::string file = wrong.substr(0, wrong.find(':'));
    EXPECT_TRUE((
        std::set<std::string>{"date-time.json", "time.json", "email.json", "uri.json", "hostname.json"}.contains(file)))
        << wrong;
  }
  EXPECT_LE(counts.wrong.size(), 36u);
}

int levels_of(const Json& json) {
  int levels = 0;
  if (json.array()) {
    for (const Json& each : *json.array()) levels = std::max(levels, 1 + levels_of(each));
  } else if (json.object()) {
    for (const JsonMember& each : *json.object()) levels = std::max(levels, 1 + levels_of(each.value));
  }
  return levels;
}

TEST(JsonSchema, IndentsAreAsDeepAsTheSchema) {
  const auto indents = [](const std::string& schema, std::string_view before, std::string_view after) {
    const auto automaton = Automaton::compile(parse_json_schema(schema)->grammar);
    size_t most = 0;
    for (size_t blanks = 1; blanks < 100; ++blanks) {
      if (accepts(*automaton, std::string(before) + "\n" + std::string(blanks, ' ') + std::string(after)))
        most = blanks;
    }
    return most;
  };
  const std::string flat = R"({"type":"object","properties":{"a":{"type":"integer"}},"additionalProperties":false})";
  EXPECT_EQ(indents(flat, "{", "\"a\":1}"), 4u);
  EXPECT_EQ(indents(R"({"type":"array","items":)" + flat + "}", "[{", "\"a\":1}]"), 8u);
  EXPECT_EQ(indents(R"({"$defs":{"l":{"type":"array","items":{"$ref":"#/$defs/l"}}},"$ref":"#/$defs/l"})", "[", "[]]"),
            24u);
  EXPECT_EQ(indents("{}", "[", "1]"), 24u);
  EXPECT_EQ(indents(R"({"const":{"a":[[1]]}})", R"({"a":[[)", "1]]}"), 12u);
  EXPECT_EQ(indents(R"({"type":"boolean"})", "", "true"), 4u);
}

TEST(JsonSchemaSuite, MaskBench) {
  if (test_data() == nullptr) GTEST_SKIP() << "MOXIE_TEST_DATA is not set";
  std::ifstream in(fs::path(test_data()) / "json-schema/maskbench/cases.jsonl");
  Counts counts;
  size_t spaced = 0;
  for (std::string line; std::getline(in, line);) {
    const auto one = parse_json(line, "case");
    ASSERT_TRUE(one.ok());
    check(*one->find("name")->text(), *one->find("schema"), *one->find("tests"), counts);
    const auto parsed = parse_json_schema(to_text(*one->find("schema")));
    const auto automaton = parsed.ok() ? Automaton::compile(parsed->grammar) : Result<Automaton>(parsed.error());
    if (!automaton.ok()) continue;
    for (const Json& test : *one->find("tests")->array()) {
      const Json& data = *test.find("data");
      if (!*test.find("valid")->get_if<bool>() || !Writer(*automaton).accepts(data)) continue;
      for (const Layout& layout : {Layout{", ", ": ", -1}, Layout{",", ": ", 2}, Layout{",", ": ", 4}}) {
        if (layout.indent * levels_of(data) > 24) continue;  // what a schema without a deepest level has room for
        EXPECT_TRUE(Writer(*automaton, layout).accepts(data)) << *one->find("name")->text();
        ++spaced;
      }
    }
  }
  counts.print("MaskBench");
  std::cout << "  " << spaced << " valid instances accepted in other layouts\n";
  EXPECT_EQ(counts.wrong.size(), 0u);
}

TEST(JsonGrammar, JsonTestSuite) {
  if (test_data() == nullptr) GTEST_SKIP() << "MOXIE_TEST_DATA is not set";
  const auto automaton = Automaton::compile(parse_json_schema("{}")->grammar);
  ASSERT_TRUE(automaton.ok());
  size_t accepted = 0, refused = 0;
  for (const auto& entry : fs::directory_iterator(fs::path(test_data()) / "json-parsing/test_parsing")) {
    const std::string name = entry.path().filename().string();
    std::string text = read(entry.path());
    if (name[0] == 'y') {  // an answer ends with its last bracket
      while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
    }
    const bool fits = accepts(*automaton, text);
    if (name[0] != 'i') {
      EXPECT_EQ(fits, name[0] == 'y') << name;
    }
    accepted += name[0] == 'y' && fits;
    refused += name[0] == 'n' && !fits;
  }
  std::cout << "JSONTestSuite: " << accepted << " y_ accepted, " << refused << " n_ refused\n";
  EXPECT_GT(accepted, 90u);
  EXPECT_GT(refused, 180u);
}

}  // namespace
}  // namespace moxie::grammar
