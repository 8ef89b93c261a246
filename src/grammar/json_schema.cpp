#include "grammar/json_schema.h"

#include <algorithm>
#include <map>
#include <optional>

#include "core/fail.h"
#include "grammar/char_dfa.h"
#include "grammar/json_rules.h"
#include "grammar/regex.h"
#include "grammar/schema_branches.h"
#include "grammar/schema_document.h"
#include "grammar/schema_values.h"

namespace moxie::grammar {
namespace {

constexpr size_t kRulesMax = 20'000;
constexpr size_t kExpressionsMax = 1'000'000;
constexpr size_t kPatternsMax = 6;  // patternProperties that one object may have
constexpr uint32_t kCountMax = 10'000'000;

// What an object allows under names that it does not list.
struct NameClass {
  CharDfa names;
  Schemas value;
};

class Compiler {
 public:
  explicit Compiler(SchemaDocument document) : document_(std::move(document)), branches_(document_, notices_) {}

  Result<SchemaGrammar> compile(uint32_t outer_levels) {
    const RuleId value = rule_for({&document_.root()});
    const RuleId root = grammar_.add_rule("text");
    grammar_.rules[root].body = grammar_.sequence({blank(), grammar_.rule(value)});
    grammar_.root = root;
    while (next_ < waiting_.size()) {
      const auto [together, rule] = waiting_[next_++];
      MOXIE_TRY(const ExpressionId body, body_of(together));
      grammar_.rules[rule].body = body;
      if (waiting_.size() > kRulesMax || grammar_.expressions.size() > kExpressionsMax) {
        return fail(ErrorCode::unsupported, "the JSON schema needs more than {} rules or {} parts; make it smaller",
                    kRulesMax, kExpressionsMax);
      }
    }
    json_.limit_indent(root, outer_levels);
    return SchemaGrammar{std::move(grammar_), std::move(notices_)};
  }

 private:
  ExpressionId rule(RuleId id) { return grammar_.rule(id); }
  ExpressionId blank() { return rule(json_.blank); }
  ExpressionId literal(std::string text) { return grammar_.literal(std::move(text)); }

  // ---- rules ----

  RuleId rule_for(Schemas together) {
    if (together.empty()) return json_.value;
    std::vector<const Json*> key = together;
    std::sort(key.begin(), key.end());
    key.erase(std::unique(key.begin(), key.end()), key.end());
    const auto [known, is_new] = rules_.try_emplace(std::move(key), static_cast<RuleId>(grammar_.rules.size()));
    if (is_new) {
      grammar_.add_rule(document_.place(*together[0]));
      waiting_.emplace_back(std::move(together), known->second);
    }
    return known->second;
  }

  Result<ExpressionId> body_of(const Schemas& together) {
    MOXIE_TRY(const std::vector<Schemas> branches, branches_.expand(together));
    std::vector<ExpressionId> parts;
    for (const Schemas& branch : branches) {
      MOXIE_TRY_VOID(add_branch(branch, parts));
    }
    return grammar_.choice(std::move(parts));
  }

  Result<void> add_branch(const Schemas& schemas, std::vector<ExpressionId>& parts) {
    unsigned types = kAllTypes;
    for (const Json* schema : schemas) {
      MOXIE_TRY(const unsigned more, allowed_types(document_, *schema));
      types &= more;
    }
    std::optional<std::vector<const Json*>> values;
    std::vector<const Json*> excluded;
    MOXIE_TRY_VOID(collect_values(schemas, values, excluded));
    if (values) return add_values(schemas, types, *values, excluded, parts);
    const auto says = [&](std::initializer_list<const char*> keys) { return any_has(schemas, keys); };
    for (const Json* value : excluded) {
      if ((type_of(*value) & types & (kArrayType | kObjectType)) != 0) {
        return branches_.refuse(*schemas[0],
                                "'not' over a list or an object as a constant is not supported; say what is "
                                "valid instead");
      }
    }
    if ((types & kNullType) != 0 && !is_excluded(excluded, Json{})) parts.push_back(literal("null"));
    for (const bool each : {true, false}) {
      Json json;
      json.value = each;
      if ((types & kBooleanType) != 0 && !is_excluded(excluded, json))
        parts.push_back(literal(each ? "true" : "false"));
    }
    if ((types & (kWholeType | kFractionType)) != 0) MOXIE_TRY_VOID(add_number(schemas, types, excluded, parts));
    if ((types & kStringType) != 0) MOXIE_TRY_VOID(add_text(schemas, excluded, parts));
    if ((types & kArrayType) != 0) {
      if (says({"items", "prefixItems", "additionalItems", "minItems", "maxItems"})) {
        MOXIE_TRY_VOID(add_array(schemas, parts));
      } else {
        parts.push_back(rule(json_.array));
      }
    }
    if ((types & kObjectType) != 0) {
      if (says({"properties", "required", "additionalProperties", "patternProperties", "propertyNames", "minProperties",
                "maxProperties"})) {
        MOXIE_TRY_VOID(add_object(schemas, parts));
      } else {
        parts.push_back(rule(json_.object));
      }
    }
    return {};
  }

  static bool any_has(const Schemas& schemas, std::initializer_list<const char*> keys) {
    return std::any_of(schemas.begin(), schemas.end(), [&](const Json* schema) {
      return std::any_of(keys.begin(), keys.end(), [&](const char* key) { return schema->find(key) != nullptr; });
    });
  }
  static bool is_excluded(const std::vector<const Json*>& excluded, const Json& value) {
    return std::any_of(excluded.begin(), excluded.end(), [&](const Json* each) { return same_value(*each, value); });
  }

  // ---- constants ----

  Result<void> collect_values(const Schemas& schemas, std::optional<std::vector<const Json*>>& values,
                              std::vector<const Json*>& excluded) const {
    const auto narrow = [&](const std::vector<const Json*>& list) {
      if (!values) {
        values = list;
        return;
      }
      std::erase_if(*values, [&](const Json* value) {
        return std::none_of(list.begin(), list.end(), [&](const Json* each) { return same_value(*each, *value); });
      });
    };
    for (const Json* schema : schemas) {
      if (const Json* constant = schema->find("const")) narrow({constant});
      for (const std::string_view key : {std::string_view("enum"), kNotValues}) {
        const Json* list = schema->find(key);
        if (list == nullptr) continue;
        if (list->array() == nullptr) return branches_.invalid(*schema, "'enum' must be a list of values");
        std::vector<const Json*> each;
        for (const Json& value : *list->array()) each.push_back(&value);
        if (key == "enum") {
          narrow(each);
        } else {
          excluded.insert(excluded.end(), each.begin(), each.end());
        }
      }
    }
    return {};
  }

  Result<void> add_values(const Schemas& schemas, unsigned types, const std::vector<const Json*>& values,
                          const std::vector<const Json*>& excluded, std::vector<ExpressionId>& parts) {
    MOXIE_TRY(const std::optional<CharDfa> texts, text_dfa(schemas));
    for (const Json* value : values) {
      const unsigned type = type_of(*value);
      if ((type & types) == 0 || is_excluded(excluded, *value)) continue;
      if (value->text() && texts && !texts->accepts(*value->text())) continue;
      if ((type & (kWholeType | kFractionType)) != 0) {
        MOXIE_TRY(const bool fits, number_fits(schemas, *Decimal::from(*value)));
        if (!fits) continue;
      }
      if (type == kObjectType || type == kArrayType) {
        MOXIE_TRY(const bool fits, valid(*value, schemas, 0));
        if (!fits) continue;
      }
      parts.push_back(json_.constant(*value));
    }
    return {};
  }

  // Whether a constant that is a list or an object fits the schemas beside it.
  Result<bool> valid(const Json& value, const Schemas& schemas, int depth) {
    const bool plain = !any_has(
        schemas, {"items", "prefixItems", "additionalItems", "minItems", "maxItems", "properties", "required",
                  "additionalProperties", "patternProperties", "propertyNames", "minProperties", "maxProperties"});
    if (plain || depth > 0) return true;
    branches_.notice(*schemas[0],
                     "constants that are lists or objects are not checked against what stands beside them");
    return (value.array() != nullptr) || (value.object() != nullptr);
  }

  // ---- numbers ----

  struct NumberRange {
    std::optional<Bound> low, high;
    std::vector<Decimal> units;
    bool any() const { return low || high || !units.empty(); }
  };

  Result<NumberRange> number_range(const Schemas& schemas) const {
    NumberRange range;
    for (const Json* schema : schemas) {
      for (const char* key : {"minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum", "multipleOf"}) {
        const Json* value = schema->find(key);
        if (value == nullptr || value->get_if<bool>()) continue;  // draft 4: true or false beside the bound
        const auto number = Decimal::from(*value);
        if (!number) return branches_.invalid(*schema, "'{}' must be a number", key);
        const std::string_view name = key;
        if (name == "multipleOf") {
          if (number->negative || number->is_zero()) return branches_.invalid(*schema, "'multipleOf' must be above 0");
          range.units.push_back(*number);
          continue;
        }
        const bool is_low = name == "minimum" || name == "exclusiveMinimum";
        const Json* flag = schema->find(is_low ? "exclusiveMinimum" : "exclusiveMaximum");
        const bool exclusive =
            name.starts_with("excl") || (flag != nullptr && flag->get_if<bool>() && *flag->get_if<bool>());
        auto& bound = is_low ? range.low : range.high;
        const int order = bound ? compare(*number, bound->value) : 0;
        if (!bound || (is_low ? order > 0 : order < 0) || (order == 0 && exclusive)) bound = Bound{*number, exclusive};
      }
    }
    return range;
  }

  Result<bool> number_fits(const Schemas& schemas, const Decimal& number) const {
    MOXIE_TRY(const NumberRange range, number_range(schemas));
    const auto beyond = [&](const std::optional<Bound>& bound, int side) {
      if (!bound) return false;
      const int order = compare(number, bound->value) * side;
      return order > 0 || (order == 0 && bound->exclusive);
    };
    if (beyond(range.low, -1) || beyond(range.high, 1)) return false;
    return std::all_of(range.units.begin(), range.units.end(),
                       [&](const Decimal& unit) { return is_multiple(number, unit); });
  }

  Result<void> add_number(const Schemas& schemas, unsigned types, const std::vector<const Json*>& excluded,
                          std::vector<ExpressionId>& parts) {
    MOXIE_TRY(const NumberRange range, number_range(schemas));
    std::string forbidden;
    for (const Json* value : excluded) {
      const auto number = Decimal::from(*value);
      if (!number) continue;
      std::string text = number->text();
      if (const size_t point = text.find('.'); point != std::string::npos) text.insert(point, "\\");
      forbidden += (forbidden.empty() ? "" : "|") + text + (number->is_whole() ? "(?:\\.0+)?" : "0*");
      if (number->is_zero()) forbidden += "|-0(?:\\.0+)?";
    }
    const bool whole = (types & kWholeType) != 0, fraction = (types & kFractionType) != 0;
    if (whole && !range.any() && forbidden.empty()) {
      parts.push_back(rule(fraction ? json_.number : json_.whole));
      return {};
    }
    MOXIE_TRY(CharDfa dfa, number_between(range.low, range.high, fraction));
    for (const Decimal& unit : range.units) {
      const auto multiples = number_multiple(unit);
      if (!multiples.ok()) return branches_.refuse(*schemas[0], "{}", multiples.error().message);
      MOXIE_TRY(dfa, CharDfa::both(dfa, *multiples));
    }
    if (!forbidden.empty()) {
      MOXIE_TRY(const CharDfa out, compile_regex(forbidden, RegexMatch::whole));
      MOXIE_TRY(dfa, CharDfa::without(dfa, out));
    }
    if (!whole) {  // not an integer: some digit after the point is not 0
      MOXIE_TRY(const CharDfa part, compile_regex("-?[0-9]+\\.[0-9]*[1-9][0-9]*", RegexMatch::whole));
      MOXIE_TRY(dfa, CharDfa::both(dfa, part));
    }
    if (!dfa.empty()) parts.push_back(dfa.to_text(grammar_));
    return {};
  }

  // ---- texts ----

  Result<std::optional<uint32_t>> count_of(const Json& schema, const char* key) const {
    const Json* value = schema.find(key);
    if (value == nullptr) return std::optional<uint32_t>();
    const auto count = value->integer();
    if (!count || *count < 0) return branches_.invalid(schema, "'{}' must be a whole number, 0 or more", key);
    return std::optional(static_cast<uint32_t>(std::min<int64_t>(*count, kCountMax)));
  }

  struct Counts {
    uint32_t min = 0, max = kUnbounded;
  };
  // The tightest of `minX` and `maxX`. A maximum beyond what is counted is none.
  Result<Counts> counts(const Schemas& schemas, const char* min_key, const char* max_key) const {
    Counts out;
    for (const Json* schema : schemas) {
      MOXIE_TRY(const auto min, count_of(*schema, min_key));
      MOXIE_TRY(const auto max, count_of(*schema, max_key));
      if (min) out.min = std::max(out.min, *min);
      if (max && *max < kCountMax) out.max = std::min(out.max, *max);
    }
    if (out.min >= kCountMax) {
      return branches_.refuse(*schemas[0], "'{}' is more than {}, which is not counted; lower it", min_key, kCountMax);
    }
    return out;
  }

  Result<CharDfa> pattern_dfa(const Json& schema, std::string_view key, std::string_view pattern,
                              RegexMatch match = RegexMatch::anywhere) const {
    auto dfa = compile_regex(pattern, match);
    if (dfa.ok()) return dfa;
    return Error{dfa.error().code, fmt::format("JSON schema, {}: '{}' is \"{}\": {}", document_.place(schema), key,
                                               pattern, dfa.error().message)};
  }

  // Patterns and formats together. Nothing: every text fits.
  Result<std::optional<CharDfa>> text_dfa(const Schemas& schemas) {
    std::optional<CharDfa> dfa;
    const auto narrow = [&](const CharDfa& more) -> Result<void> {
      if (!dfa) {
        dfa = more;
        return {};
      }
      MOXIE_TRY(dfa, CharDfa::both(*dfa, more));
      return {};
    };
    for (const Json* schema : schemas) {
      for (const std::string_view key : {std::string_view("pattern"), kNotPattern}) {
        const Json* pattern = schema->find(key);
        if (pattern == nullptr) continue;
        if (!pattern->text()) return branches_.invalid(*schema, "'pattern' must be a text");
        MOXIE_TRY(CharDfa each, pattern_dfa(*schema, "pattern", *pattern->text()));
        if (key == kNotPattern) {
          MOXIE_TRY(each, CharDfa::without(CharDfa::anything(), each));
        }
        MOXIE_TRY_VOID(narrow(each));
      }
      const Json* format = schema->find("format");
      if (format == nullptr || !format->text()) continue;
      const std::string_view known = format_pattern(*format->text());
      if (known.empty()) {
        branches_.notice(*schema, "format '" + *format->text() + "' is not known and has no effect");
        continue;
      }
      MOXIE_TRY(const CharDfa each, pattern_dfa(*schema, "format", known, RegexMatch::whole));
      MOXIE_TRY_VOID(narrow(each));
    }
    return dfa;
  }

  Result<void> add_text(const Schemas& schemas, const std::vector<const Json*>& excluded,
                        std::vector<ExpressionId>& parts) {
    MOXIE_TRY(std::optional<CharDfa> dfa, text_dfa(schemas));
    MOXIE_TRY(const Counts length, counts(schemas, "minLength", "maxLength"));
    if (length.max < length.min) return {};
    std::vector<std::string> words;
    for (const Json* value : excluded) {
      if (value->text()) words.push_back(*value->text());
    }
    if (!words.empty()) {
      MOXIE_TRY(dfa, CharDfa::without(dfa ? *dfa : CharDfa::anything(), CharDfa::words(words)));
    }
    const bool has_length = length.min > 0 || length.max != kUnbounded;
    if (!dfa) {
      parts.push_back(
          !has_length ? rule(json_.text)
                      : grammar_.sequence({literal("\""), grammar_.repeat(json_.character(), length.min, length.max),
                                           literal("\"")}));
      return {};
    }
    if (has_length) {
      MOXIE_TRY(const CharDfa lengths, CharDfa::length(length.min, length.max));
      MOXIE_TRY(dfa, CharDfa::both(*dfa, lengths));
    }
    if (!dfa->empty()) parts.push_back(grammar_.sequence({literal("\""), dfa->to_json(grammar_), literal("\"")}));
    return {};
  }

  // ---- arrays ----

  static bool is_false(const Schemas& together) {
    return std::any_of(together.begin(), together.end(),
                       [](const Json* schema) { return schema->get_if<bool>() && !*schema->get_if<bool>(); });
  }

  // What holds for the item at `index`; beyond all lists, for the rest.
  static Schemas item_at(const Schemas& schemas, size_t index) {
    Schemas out;
    for (const Json* schema : schemas) {
      const Json* items = schema->find("items");
      const Json* first = schema->find("prefixItems");
      const Json* rest = items;
      if (items != nullptr && items->array()) {  // drafts up to 7
        first = items;
        rest = schema->find("additionalItems");
      }
      const auto* list = first == nullptr ? nullptr : first->array();
      if (list != nullptr && index < list->size()) {
        out.push_back(&(*list)[index]);
      } else if (rest != nullptr) {
        out.push_back(rest);
      }
    }
    return out;
  }

  Result<void> add_array(const Schemas& schemas, std::vector<ExpressionId>& parts) {
    MOXIE_TRY(Counts count, counts(schemas, "minItems", "maxItems"));
    size_t listed = 0;
    for (const Json* schema : schemas) {
      for (const char* key : {"prefixItems", "items"}) {
        const Json* list = schema->find(key);
        if (list != nullptr && list->array()) listed = std::max(listed, list->array()->size());
      }
    }
    // The first place that nothing may fill is the length at most.
    for (size_t i = 0; i <= listed; ++i) {
      if (!is_false(item_at(schemas, i))) continue;
      count.max = std::min(count.max, static_cast<uint32_t>(i));
      listed = std::min(listed, i);
    }
    listed = std::min<size_t>(listed, count.max);
    if (count.max < count.min) return {};
    const auto item = [&](size_t index) { return rule(rule_for(item_at(schemas, index))); };
    const auto next = [&](size_t index) { return grammar_.sequence({blank(), literal(","), blank(), item(index)}); };
    // Node 0 begins, 1 is the end, 2 + i stands behind i + 1 items.
    std::vector<GraphEdge> edges;
    uint32_t at = 0, node = 2;
    const uint32_t first = static_cast<uint32_t>(listed == 0 && count.max > 0 ? 1 : listed);
    for (uint32_t i = 0; i < first; ++i) {
      if (i >= count.min) edges.push_back({at, 1, kNothing});
      edges.push_back({at, node, i == 0 ? item(0) : next(i)});
      at = node++;
    }
    if (count.max == first || is_false(item_at(schemas, listed))) {
      if (first >= count.min) edges.push_back({at, 1, kNothing});
    } else {
      const uint32_t least = count.min > first ? count.min - first : 0;
      const uint32_t most = count.max == kUnbounded ? kUnbounded : count.max - first;
      edges.push_back({at, 1, grammar_.repeat(next(std::max<size_t>(listed, first)), least, most)});
    }
    parts.push_back(
        grammar_.sequence({literal("["), blank(), grammar_.graph(node, std::move(edges)), blank(), literal("]")}));
    return {};
  }

  // ---- objects ----

  struct Pattern {
    const Json* owner;
    const Json* value;
    CharDfa names;
  };

  Result<void> add_object(const Schemas& schemas, std::vector<ExpressionId>& parts) {
    std::vector<std::string> names;
    std::vector<std::string> required;
    MOXIE_TRY_VOID(list_names(schemas, names, required));
    MOXIE_TRY(const std::vector<Pattern> patterns, patterns_of(schemas));
    MOXIE_TRY(const CharDfa possible, possible_names(schemas));
    MOXIE_TRY(Counts count, counts(schemas, "minProperties", "maxProperties"));

    struct Property {
      std::string name;
      Schemas value;
      bool required;
    };
    std::vector<Property> properties;
    for (const std::string& name : names) {
      const bool must = std::find(required.begin(), required.end(), name) != required.end();
      Schemas value = value_of(schemas, patterns, name);
      if (is_false(value) || !possible.accepts(name)) {
        if (must) return {};  // no object is valid
        continue;
      }
      properties.push_back({name, std::move(value), must});
    }
    MOXIE_TRY(const CharDfa others, CharDfa::without(possible, CharDfa::words(names)));
    std::vector<NameClass> classes;
    MOXIE_TRY_VOID(split_names(schemas, patterns, others, 0, {}, classes));

    // Node (i, c): the first i properties are decided, c of all are there; c stops where it makes no difference.
    const uint32_t kept = std::max<uint32_t>(count.max == kUnbounded ? std::max(count.min, 1u) : count.max, 1);
    if (count.max < count.min) return {};
    const size_t n = properties.size();
    const uint64_t nodes = (n + 1) * (uint64_t{kept} + 1);
    if (nodes > 20'000) {
      return branches_.refuse(
          *schemas[0], "'minProperties' or 'maxProperties' with {} names needs {} states; at most 20000", n, nodes);
    }
    const auto node = [&](size_t i, uint32_t c) {
      const uint32_t id = static_cast<uint32_t>(i * (kept + 1) + c);
      return id == 0 ? 0 : id + 1;
    };
    const auto may_add = [&](uint32_t c) { return count.max == kUnbounded || c < count.max; };
    const auto pair = [&](uint32_t c, ExpressionId name, RuleId value) {
      std::vector<ExpressionId> text;
      if (c > 0) text = {blank(), literal(","), blank()};
      text.insert(text.end(), {name, blank(), literal(":"), blank(), rule(value)});
      return grammar_.sequence(std::move(text));
    };
    std::vector<RuleId> class_names;
    for (const NameClass& each : classes) {
      const RuleId name = grammar_.add_rule("name");
      grammar_.rules[name].body = grammar_.sequence({literal("\""), each.names.to_json(grammar_), literal("\"")});
      class_names.push_back(name);
    }
    std::vector<GraphEdge> edges;
    for (size_t i = 0; i <= n; ++i) {
      for (uint32_t c = 0; c <= std::min<uint64_t>(kept, i == n ? kept : i); ++c) {
        const uint32_t more = std::min(c + 1, kept);
        if (i == n) {
          if (c >= count.min) edges.push_back({node(i, c), 1, kNothing});
          for (size_t each = 0; each < classes.size() && may_add(c); ++each) {
            edges.push_back(
                {node(i, c), node(i, more), pair(c, rule(class_names[each]), rule_for(classes[each].value))});
          }
          continue;
        }
        if (!properties[i].required) edges.push_back({node(i, c), node(i + 1, c), kNothing});
        if (!may_add(c)) continue;
        edges.push_back({node(i, c), node(i + 1, more),
                         pair(c, literal(json_spelled(properties[i].name)), rule_for(properties[i].value))});
      }
    }
    parts.push_back(
        grammar_.sequence({literal("{"), blank(), grammar_.graph(static_cast<uint32_t>(nodes) + 1, std::move(edges)),
                           blank(), literal("}")}));
    return {};
  }

  Result<void> list_names(const Schemas& schemas, std::vector<std::string>& names,
                          std::vector<std::string>& required) const {
    const auto add = [](std::vector<std::string>& list, const std::string& name) {
      if (std::find(list.begin(), list.end(), name) == list.end()) list.push_back(name);
    };
    for (const Json* schema : schemas) {
      const Json* properties = schema->find("properties");
      if (properties == nullptr) continue;
      if (!properties->object()) return branches_.invalid(*schema, "'properties' must be an object");
      for (const JsonMember& member : *properties->object()) add(names, member.key);
    }
    for (const Json* schema : schemas) {
      const Json* list = schema->find("required");
      if (list == nullptr || list->get_if<bool>()) continue;  // draft 3: true or false within a property
      if (!list->array()) return branches_.invalid(*schema, "'required' must be a list of names");
      for (const Json& name : *list->array()) {
        if (!name.text()) return branches_.invalid(*schema, "'required' must be a list of names");
        add(required, *name.text());
        add(names, *name.text());
      }
    }
    return {};
  }

  Result<std::vector<Pattern>> patterns_of(const Schemas& schemas) const {
    std::vector<Pattern> out;
    for (const Json* schema : schemas) {
      const Json* map = schema->find("patternProperties");
      if (map == nullptr) continue;
      if (!map->object()) return branches_.invalid(*schema, "'patternProperties' must be an object");
      for (const JsonMember& member : *map->object()) {
        MOXIE_TRY(CharDfa dfa, pattern_dfa(*schema, "patternProperties", member.key));
        out.push_back({schema, &member.value, std::move(dfa)});
      }
    }
    if (out.size() > kPatternsMax) {
      return branches_.refuse(*schemas[0], "{} 'patternProperties' hold together; at most {}", out.size(),
                              kPatternsMax);
    }
    return out;
  }

  // Which names propertyNames allows.
  Result<CharDfa> possible_names(const Schemas& schemas) {
    CharDfa all = CharDfa::anything();
    for (const Json* schema : schemas) {
      const Json* rule = schema->find("propertyNames");
      if (rule == nullptr) continue;
      MOXIE_TRY(const std::vector<Schemas> branches, branches_.expand({rule}));
      CharDfa some = CharDfa::nothing();
      for (const Schemas& branch : branches) {
        MOXIE_TRY(const CharDfa each, names_of(branch));
        MOXIE_TRY(some, CharDfa::either(some, each));
      }
      MOXIE_TRY(all, CharDfa::both(all, some));
    }
    return all;
  }

  Result<CharDfa> names_of(const Schemas& branch) {
    std::optional<std::vector<const Json*>> values;
    std::vector<const Json*> excluded;
    MOXIE_TRY_VOID(collect_values(branch, values, excluded));
    MOXIE_TRY(const std::optional<CharDfa> dfa, text_dfa(branch));
    CharDfa out = dfa ? *dfa : CharDfa::anything();
    if (!branch.empty()) {
      MOXIE_TRY(const Counts length, counts(branch, "minLength", "maxLength"));
      if (length.min > 0 || length.max != kUnbounded) {
        MOXIE_TRY(const CharDfa lengths, CharDfa::length(length.min, length.max));
        MOXIE_TRY(out, CharDfa::both(out, lengths));
      }
    }
    for (const Json* schema : branch) {
      MOXIE_TRY(const unsigned types, allowed_types(document_, *schema));
      if ((types & kStringType) == 0) return CharDfa::nothing();
    }
    const auto words = [](const std::vector<const Json*>& list) {
      std::vector<std::string> texts;
      for (const Json* value : list) {
        if (value->text()) texts.push_back(*value->text());
      }
      return CharDfa::words(texts);
    };
    if (values) {
      MOXIE_TRY(out, CharDfa::both(out, words(*values)));
    }
    return CharDfa::without(out, words(excluded));
  }

  // What holds for the value under `name`.
  static Schemas value_of(const Schemas& schemas, const std::vector<Pattern>& patterns, const std::string& name) {
    Schemas out;
    for (const Json* schema : schemas) {
      bool listed = false;
      const Json* properties = schema->find("properties");
      if (const Json* own = properties == nullptr ? nullptr : properties->find(name)) {
        out.push_back(own);
        listed = true;
      }
      for (const Pattern& pattern : patterns) {
        if (pattern.owner != schema || !pattern.names.accepts(name)) continue;
        out.push_back(pattern.value);
        listed = true;
      }
      const Json* rest = schema->find("additionalProperties");
      if (!listed && rest != nullptr) out.push_back(rest);
    }
    return out;
  }

  // The names that the schemas do not list, by the patterns that they match.
  Result<void> split_names(const Schemas& schemas, const std::vector<Pattern>& patterns, const CharDfa& names,
                           size_t index, std::vector<const Pattern*> matched, std::vector<NameClass>& out) {
    if (names.empty()) return {};
    if (index < patterns.size()) {
      MOXIE_TRY(const CharDfa without, CharDfa::without(names, patterns[index].names));
      MOXIE_TRY_VOID(split_names(schemas, patterns, without, index + 1, matched, out));
      MOXIE_TRY(const CharDfa with, CharDfa::both(names, patterns[index].names));
      matched.push_back(&patterns[index]);
      return split_names(schemas, patterns, with, index + 1, std::move(matched), out);
    }
    Schemas value;
    for (const Json* schema : schemas) {
      bool listed = false;
      for (const Pattern* pattern : matched) {
        if (pattern->owner != schema) continue;
        value.push_back(pattern->value);
        listed = true;
      }
      const Json* rest = schema->find("additionalProperties");
      if (!listed && rest != nullptr) value.push_back(rest);
    }
    if (!is_false(value)) out.push_back({names, std::move(value)});
    return {};
  }

  SchemaDocument document_;
  std::vector<std::string> notices_;
  SchemaBranches branches_;
  Grammar grammar_;
  JsonRules json_{grammar_};
  std::map<std::vector<const Json*>, RuleId> rules_;
  std::vector<std::pair<Schemas, RuleId>> waiting_;
  size_t next_ = 0;
};

}  // namespace

Result<SchemaGrammar> parse_json_schema(std::string_view text, uint32_t outer_levels) {
  MOXIE_TRY(SchemaDocument document, SchemaDocument::parse(text));
  return Compiler(std::move(document)).compile(outer_levels);
}

}  // namespace moxie::grammar
