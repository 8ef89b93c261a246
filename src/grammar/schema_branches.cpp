#include "grammar/schema_branches.h"

#include <algorithm>
#include <cmath>

#include "core/fail.h"

namespace moxie::grammar {
namespace {

constexpr size_t kBranchesMax = 400;
constexpr size_t kStepsMax = 100'000;
constexpr size_t kMadeMax = 20'000;
constexpr int kNegateDepthMax = 24;

bool is_annotation(std::string_view key) {
  static const std::set<std::string_view> kKeys = {
      "title",         "description", "default",         "examples",         "example",
      "$comment",      "deprecated",  "readOnly",        "writeOnly",        "$schema",
      "$id",           "id",          "$anchor",         "$dynamicAnchor",   "$defs",
      "definitions",   "$vocabulary", "contentEncoding", "contentMediaType", "contentSchema",
      "discriminator", "minContains", "maxContains"};
  return kKeys.contains(key);
}

bool is_known(std::string_view key) {
  static const std::set<std::string_view> kKeys = {"type",
                                                   "enum",
                                                   "const",
                                                   "minimum",
                                                   "maximum",
                                                   "exclusiveMinimum",
                                                   "exclusiveMaximum",
                                                   "multipleOf",
                                                   "minLength",
                                                   "maxLength",
                                                   "pattern",
                                                   "format",
                                                   "items",
                                                   "prefixItems",
                                                   "minItems",
                                                   "maxItems",
                                                   "additionalItems",
                                                   "properties",
                                                   "required",
                                                   "additionalProperties",
                                                   "patternProperties",
                                                   "propertyNames",
                                                   "minProperties",
                                                   "maxProperties",
                                                   "anyOf",
                                                   "oneOf",
                                                   "allOf",
                                                   "not",
                                                   "if",
                                                   "then",
                                                   "else",
                                                   "$ref",
                                                   "dependentRequired",
                                                   "dependentSchemas",
                                                   "dependencies",
                                                   "nullable",
                                                   "uniqueItems",
                                                   "contains",
                                                   "unevaluatedProperties",
                                                   "unevaluatedItems",
                                                   "$dynamicRef",
                                                   "$recursiveRef",
                                                   kNotTypes,
                                                   kNotValues,
                                                   kNotPattern};
  return kKeys.contains(key);
}

Json object_of(std::vector<JsonMember> members) {
  Json json;
  json.value = Json::Object(std::move(members));
  return json;
}
Json text_of(std::string text) {
  Json json;
  json.value = std::move(text);
  return json;
}
Json list_of_one(Json value) {
  Json json;
  json.value = Json::Array{std::move(value)};
  return json;
}
Json boolean_of(bool value) {
  Json json;
  json.value = value;
  return json;
}
Json number_of(int64_t value) {
  Json json;
  json.value = value;
  return json;
}
Json negation_of(const Json& schema) {
  return object_of({{"not", schema}});
}

}  // namespace

unsigned type_bits(std::string_view name) {
  static const std::pair<std::string_view, unsigned> kTypes[] = {
      {"null", kNullType},     {"boolean", kBooleanType},
      {"integer", kWholeType}, {"number", kWholeType | kFractionType},
      {"string", kStringType}, {"array", kArrayType},
      {"object", kObjectType}, {"any", kAllTypes}};
  for (const auto& [each, bits] : kTypes) {
    if (each == name) return bits;
  }
  return 0;
}

unsigned type_of(const Json& value) {
  if (value.is_null()) return kNullType;
  if (value.get_if<bool>()) return kBooleanType;
  if (value.get_if<int64_t>() || value.get_if<uint64_t>()) return kWholeType;
  if (const auto* number = value.get_if<double>()) return std::trunc(*number) == *number ? kWholeType : kFractionType;
  if (value.text()) return kStringType;
  return value.array() ? kArrayType : kObjectType;
}

bool same_value(const Json& a, const Json& b) {
  if (type_of(a) != type_of(b)) return false;
  switch (type_of(a)) {
    case kWholeType:
    case kFractionType: {
      const auto number = [](const Json& json) {
        if (const auto* whole = json.get_if<int64_t>()) return static_cast<long double>(*whole);
        if (const auto* large = json.get_if<uint64_t>()) return static_cast<long double>(*large);
        return static_cast<long double>(*json.get_if<double>());
      };
      return number(a) == number(b);
    }
    case kArrayType: {
      return std::equal(a.array()->begin(), a.array()->end(), b.array()->begin(), b.array()->end(), same_value);
    }
    case kObjectType:
      return a.object()->size() == b.object()->size() &&
             std::all_of(a.object()->begin(), a.object()->end(), [&](const JsonMember& member) {
               const Json* other = b.find(member.key);
               return other != nullptr && same_value(member.value, *other);
             });
    default:
      return to_text(a) == to_text(b);
  }
}

Result<unsigned> allowed_types(const SchemaDocument& document, const Json& schema) {
  unsigned bits = kAllTypes;
  const auto invalid = [&](const std::string& found) {
    return fail(
        ErrorCode::invalid_argument,
        "JSON schema, {}: 'type' is {}; it must be null, boolean, integer, number, string, array or object, or a "
        "list of them",
        document.place(schema), found);
  };
  if (const Json* type = schema.find("type")) {
    bits = 0;
    if (type->text()) {
      bits = type_bits(*type->text());
      if (bits == 0) return invalid("\"" + *type->text() + "\"");
    } else if (type->array()) {
      for (const Json& each : *type->array()) {
        const unsigned more = each.text() ? type_bits(*each.text()) : 0;
        if (more == 0) return invalid("a list with something else");
        bits |= more;
      }
    } else {
      return invalid("no text");
    }
    const Json* nullable = schema.find("nullable");
    if (nullable != nullptr && nullable->get_if<bool>() && *nullable->get_if<bool>()) bits |= kNullType;
  }
  if (const Json* not_types = schema.find(kNotTypes)) bits &= ~static_cast<unsigned>(not_types->integer().value_or(0));
  return bits;
}

void SchemaBranches::notice(const Json& at, const std::string& text) {
  const std::string whole = place(at) + text;
  if (notices_.size() < 100 && std::find(notices_.begin(), notices_.end(), whole) == notices_.end()) {
    notices_.push_back(whole);
  }
}

Result<std::vector<Schemas>> SchemaBranches::expand(const Schemas& together) {
  std::vector<Schemas> out;
  MOXIE_TRY_VOID(expand(Work{Schemas(together.rbegin(), together.rend()), {}, {}}, out));
  return out;
}

Result<void> SchemaBranches::expand(Work work, std::vector<Schemas>& out) {
  while (!work.pending.empty()) {
    const Json* schema = work.pending.back();
    work.pending.pop_back();
    if (std::find(work.taken.begin(), work.taken.end(), schema) != work.taken.end()) continue;
    if (++steps_ > kStepsMax || document_.made_count() > kMadeMax) {
      return refuse(*schema,
                    "its alternatives have too many combinations; use fewer anyOf, oneOf, not and if together");
    }
    if (const auto* whether = schema->get_if<bool>()) {
      if (*whether) continue;
      return {};
    }
    if (schema->object() == nullptr) return invalid(*schema, "a schema must be an object, true or false");
    MOXIE_TRY(const bool possible, take(*schema, work));
    if (!possible) return {};
  }
  if (work.groups.empty()) {
    if (out.size() >= kBranchesMax) {
      return refuse(document_.root(),
                    "more than {} combinations of alternatives; use fewer anyOf, oneOf and if together", kBranchesMax);
    }
    out.push_back(std::move(work.taken));
    return {};
  }
  const Group group = std::move(work.groups.back());
  work.groups.pop_back();
  for (const Schemas& alternative : group) {
    Work each = work;
    each.pending.insert(each.pending.end(), alternative.rbegin(), alternative.rend());
    MOXIE_TRY_VOID(expand(std::move(each), out));
  }
  return {};
}

Result<void> SchemaBranches::check_keywords(const Json& schema) {
  if (!checked_.insert(&schema).second) return {};
  for (const JsonMember& member : *schema.object()) {
    const std::string& key = member.key;
    if (!document_.is_made(schema) && !key.empty() && key[0] == '\x01') {
      return invalid(schema, "a keyword cannot begin with a control character");
    }
    if (key == "contains" || key == "$dynamicRef" || key == "$recursiveRef") {
      return refuse(schema, "'{}' cannot be said by a grammar; remove it, or check the answer yourself", key);
    }
    const auto* whether = member.value.get_if<bool>();
    if (key == "uniqueItems" && (whether == nullptr || *whether)) {
      return refuse(schema, "'uniqueItems' cannot be said by a grammar; remove it, or check the answer yourself");
    }
    if ((key == "unevaluatedProperties" || key == "unevaluatedItems") && (whether == nullptr || !*whether)) {
      return refuse(schema, "'{}' is not supported; use {} in a schema that lists all of them", key,
                    key == "unevaluatedItems" ? "items" : "additionalProperties");
    }
    if (!is_known(key) && !is_annotation(key)) {
      notice(schema, "'" + key + "' is no keyword of JSON Schema and has no effect");
    }
  }
  return {};
}

Result<Schemas> SchemaBranches::list_of(const Json& schema, std::string_view key) const {
  const Json* list = schema.find(key);
  if (list->array() == nullptr || list->array()->empty()) {
    return invalid(schema, "'{}' must be a list of at least one schema", key);
  }
  Schemas out;
  for (const Json& each : *list->array()) out.push_back(&each);
  return out;
}

Result<bool> SchemaBranches::take(const Json& schema, Work& work) {
  work.taken.push_back(&schema);
  const Json* ref = schema.find("$ref");
  if (ref != nullptr && ref->text() != nullptr) {
    MOXIE_TRY(const Json* target, document_.resolve(schema, *ref->text()));
    work.pending.push_back(target);
    if (document_.ref_stands_alone()) {
      work.taken.pop_back();
      if (std::find(work.taken.begin(), work.taken.end(), target) != work.taken.end()) work.pending.pop_back();
      return true;
    }
  }
  MOXIE_TRY_VOID(check_keywords(schema));
  if (schema.find("allOf")) {
    MOXIE_TRY(const Schemas all, list_of(schema, "allOf"));
    work.pending.insert(work.pending.end(), all.rbegin(), all.rend());
  }
  if (schema.find("anyOf")) {
    MOXIE_TRY(const Schemas any, list_of(schema, "anyOf"));
    Group group;
    for (const Json* each : any) group.push_back({each});
    work.groups.push_back(std::move(group));
  }
  if (schema.find("oneOf")) MOXIE_TRY_VOID(one_of(schema, work));
  if (const Json* negated = schema.find("not")) {
    MOXIE_TRY(Group group, negate(*negated, 0));
    if (group.empty()) return false;
    work.groups.push_back(std::move(group));
  }
  if (const Json* condition = schema.find("if")) {
    const Json* then = schema.find("then");
    const Json* otherwise = schema.find("else");
    if (then != nullptr || otherwise != nullptr) {
      Group group = {{condition}};
      if (then != nullptr) group[0].push_back(then);
      MOXIE_TRY(Group without, negate(*condition, 0));
      for (Schemas& each : without) {
        if (otherwise != nullptr) each.push_back(otherwise);
        group.push_back(std::move(each));
      }
      work.groups.push_back(std::move(group));
    }
  }
  MOXIE_TRY_VOID(dependencies(schema, work));
  return true;
}

// "if this name is there, that holds": the name is not there, or that holds.
Result<void> SchemaBranches::dependencies(const Json& schema, Work& work) {
  for (const std::string_view key : {"dependentRequired", "dependentSchemas", "dependencies"}) {
    const Json* map = schema.find(key);
    if (map == nullptr) continue;
    if (map->object() == nullptr) return invalid(schema, "'{}' must be an object", key);
    for (const JsonMember& member : *map->object()) {
      const Json* absent = add(object_of({{"properties", object_of({{member.key, boolean_of(false)}})}}), schema);
      const Json* wanted = &member.value;
      if (member.value.array()) wanted = add(object_of({{"required", member.value}}), schema);
      const Json* present =
          add(object_of({{"type", text_of("object")}, {"required", list_of_one(text_of(member.key))}}), schema);
      work.groups.push_back({{absent}, {present, wanted}});
    }
  }
  return {};
}

// Exactly one: each alternative without those that it may have values in common with. Where that cannot be said, one at
// least, and a notice.
Result<void> SchemaBranches::one_of(const Json& schema, Work& work) {
  constexpr size_t kAlternativesMax = 48;
  MOXIE_TRY(const Schemas all, list_of(schema, "oneOf"));
  Group exact;
  bool known = true;
  size_t alternatives = 0;
  for (size_t i = 0; i < all.size() && known; ++i) {
    Schemas each = {all[i]};
    size_t ways = 1;
    for (size_t j = 0; j < all.size() && known; ++j) {
      if (i == j || disjoint(*all[i], *all[j], 0)) continue;
      const auto negated = negate(*all[j], 0);
      known = negated.ok();
      if (!known) break;
      ways *= std::max<size_t>(negated->size(), 1);
      if (ways > kAlternativesMax) known = false;
      each.push_back(add(negation_of(*all[j]), schema));
    }
    alternatives += ways;
    if (alternatives > kAlternativesMax) known = false;
    exact.push_back(std::move(each));
  }
  if (!known) {
    notice(schema, "'oneOf' is taken as anyOf: its alternatives may have values in common");
    exact.clear();
    for (const Json* each : all) exact.push_back({each});
  }
  work.groups.push_back(std::move(exact));
  return {};
}

// True only if no value is valid under both.
bool SchemaBranches::disjoint(const Json& a, const Json& b, int depth) const {
  if (depth > 4) return false;
  for (const auto& [from, other] : {std::pair{&a, &b}, std::pair{&b, &a}}) {
    if (from->get_if<bool>() && !*from->get_if<bool>()) return true;
    if (from->object() == nullptr) return false;
    const Json* ref = from->find("$ref");
    if (ref != nullptr && ref->text() != nullptr) {
      const auto target = document_.resolve(*from, *ref->text());
      if (target.ok() && disjoint(**target, *other, depth + 1)) return true;
    }
  }
  if (a.object() == nullptr || b.object() == nullptr) return false;
  const auto types_a = allowed_types(document_, a), types_b = allowed_types(document_, b);
  if (!types_a.ok() || !types_b.ok()) return false;
  if ((*types_a & *types_b) == 0) return true;
  const auto values = [](const Json& schema) {
    std::vector<const Json*> out;
    if (const Json* constant = schema.find("const")) {
      out.push_back(constant);
    } else if (const Json* list = schema.find("enum"); list != nullptr && list->array()) {
      for (const Json& each : *list->array()) out.push_back(&each);
    }
    return out;
  };
  const auto x = values(a), y = values(b);
  if (!x.empty() && !y.empty()) {
    return std::none_of(x.begin(), x.end(), [&](const Json* left) {
      return std::any_of(y.begin(), y.end(), [&](const Json* right) { return same_value(*left, *right); });
    });
  }
  if (!x.empty() || !y.empty()) {
    const auto& list = x.empty() ? y : x;
    const unsigned types = x.empty() ? *types_a : *types_b;
    if (std::none_of(list.begin(), list.end(), [&](const Json* each) { return (type_of(*each) & types) != 0; }))
      return true;
  }
  // Objects that both must have a name whose values differ.
  if ((*types_a & *types_b) != kObjectType) return false;
  const auto requires_name = [](const Json& schema, const std::string& name) {
    const Json* list = schema.find("required");
    return list != nullptr && list->array() != nullptr &&
           std::any_of(list->array()->begin(), list->array()->end(),
                       [&](const Json& each) { return each.text() && *each.text() == name; });
  };
  const Json* props_a = a.find("properties");
  const Json* props_b = b.find("properties");
  if (props_a == nullptr || props_b == nullptr || !props_a->object() || !props_b->object()) return false;
  return std::any_of(props_a->object()->begin(), props_a->object()->end(), [&](const JsonMember& member) {
    const Json* other = props_b->find(member.key);
    return other != nullptr && requires_name(a, member.key) && requires_name(b, member.key) &&
           disjoint(member.value, *other, depth + 1);
  });
}

Result<SchemaBranches::Group> SchemaBranches::negate(const Json& schema, int depth) {
  if (depth > kNegateDepthMax || document_.made_count() > kMadeMax) {
    return refuse(schema, "'not' (or 'if') reaches too deep; say what is valid instead");
  }
  if (const auto* whether = schema.get_if<bool>()) {
    if (*whether) return Group{};
    return Group{Schemas{}};
  }
  if (schema.object() == nullptr) return invalid(schema, "a schema must be an object, true or false");
  MOXIE_TRY_VOID(check_keywords(schema));
  Group out;
  for (const JsonMember& member : *schema.object()) {
    if (document_.ref_stands_alone() && schema.find("$ref") && member.key != "$ref") continue;
    MOXIE_TRY_VOID(negate_keyword(schema, member, depth, out));
  }
  return out;
}

Result<void> SchemaBranches::negate_keyword(const Json& schema, const JsonMember& member, int depth, Group& out) {
  const std::string& key = member.key;
  const Json& value = member.value;
  const auto give = [&](Json made) { out.push_back({add(std::move(made), schema)}); };
  const auto nested = [&](const Json& inner) -> Result<void> {
    MOXIE_TRY(Group group, negate(inner, depth + 1));
    out.insert(out.end(), group.begin(), group.end());
    return {};
  };
  if (key == "type") {
    MOXIE_TRY(const unsigned types, allowed_types(document_, schema));
    if (types != kAllTypes) give(object_of({{std::string(kNotTypes), number_of(types)}}));
  } else if (key == "const") {
    give(object_of({{std::string(kNotValues), list_of_one(value)}}));
  } else if (key == "enum") {
    give(object_of({{std::string(kNotValues), value}}));
  } else if (key == "required" && value.array()) {
    for (const Json& name : *value.array()) {
      if (!name.text()) continue;
      give(object_of({{"type", text_of("object")}, {"properties", object_of({{*name.text(), boolean_of(false)}})}}));
    }
  } else if (key == "properties" && value.object()) {
    for (const JsonMember& each : *value.object()) {
      give(object_of({{"type", text_of("object")},
                      {"required", list_of_one(text_of(each.key))},
                      {"properties", object_of({{each.key, negation_of(each.value)}})}}));
    }
  } else if (key == "minimum" || key == "maximum" || key == "exclusiveMinimum" || key == "exclusiveMaximum") {
    if (value.get_if<bool>()) return refuse(schema, "'not' with a boolean '{}' is not supported; give a number", key);
    const char* opposite = key == "minimum"            ? "exclusiveMaximum"
                           : key == "maximum"          ? "exclusiveMinimum"
                           : key == "exclusiveMinimum" ? "maximum"
                                                       : "minimum";
    give(object_of({{"type", text_of("number")}, {opposite, value}}));
  } else if (key == "minLength" || key == "minItems" || key == "minProperties" || key == "maxLength" ||
             key == "maxItems" || key == "maxProperties") {
    const auto count = value.integer();
    if (!count || *count < 0) return invalid(schema, "'{}' must be a whole number, 0 or more", key);
    const char* type = key.ends_with("Length") ? "string" : key.ends_with("Items") ? "array" : "object";
    const bool is_min = key.starts_with("min");
    if (is_min && *count == 0) return {};
    give(object_of({{"type", text_of(type)},
                    {(is_min ? "max" : "min") + key.substr(3), number_of(is_min ? *count - 1 : *count + 1)}}));
  } else if (key == "pattern") {
    give(object_of({{"type", text_of("string")}, {std::string(kNotPattern), value}}));
  } else if (key == "not") {
    out.push_back({&value});
  } else if (key == "allOf") {
    MOXIE_TRY(const Schemas all, list_of(schema, key));
    for (const Json* each : all) MOXIE_TRY_VOID(nested(*each));
  } else if (key == "anyOf") {
    MOXIE_TRY(const Schemas any, list_of(schema, key));
    Schemas none;
    for (const Json* each : any) none.push_back(add(negation_of(*each), schema));
    out.push_back(std::move(none));
  } else if (key == "$ref" && value.text()) {
    MOXIE_TRY(const Json* target, document_.resolve(schema, *value.text()));
    MOXIE_TRY_VOID(nested(*target));
  } else if (key == std::string_view(kNotTypes) || key == std::string_view(kNotValues) ||
             key == std::string_view(kNotPattern)) {
    return refuse(schema, "'not' within 'not' is too involved here; say what is valid instead");
  } else if (is_known(key) && key != "nullable" && key != "then" && key != "else" && key != "uniqueItems") {
    return refuse(schema, "'not' (or 'if', 'oneOf') over '{}' is not supported; say what is valid instead", key);
  }
  return {};
}

}  // namespace moxie::grammar
