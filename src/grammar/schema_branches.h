// A set of schemas that hold together, as alternatives without anyOf, oneOf, allOf, not, if or $ref. Used by
// json_schema.cpp alone. Not thread-safe.
#pragma once

#include <fmt/format.h>

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "grammar/schema_document.h"
#include "moxie/error.h"

namespace moxie::grammar {

using Schemas = std::vector<const Json*>;  // that hold together

// Bits of types. A number is whole or has a fraction.
enum SchemaType : unsigned {
  kNullType = 1,
  kBooleanType = 2,
  kWholeType = 4,
  kFractionType = 8,
  kStringType = 16,
  kArrayType = 32,
  kObjectType = 64,
  kAllTypes = 127,
};
// The bits of "integer" and the like; 0: no such type.
unsigned type_bits(std::string_view name);
unsigned type_of(const Json& value);
// Those that `type` of a schema names; all where there is none. Error: invalid_argument.
Result<unsigned> allowed_types(const SchemaDocument& document, const Json& schema);
bool same_value(const Json& a, const Json& b);

class SchemaBranches {
 public:
  SchemaBranches(SchemaDocument& document, std::vector<std::string>& notices)
      : document_(document), notices_(notices) {}

  // Each branch's schemas apply by their own keywords alone. No branch: nothing is valid.
  Result<std::vector<Schemas>> expand(const Schemas& together);

  template <typename... Args>
  Error refuse(const Json& at, fmt::format_string<Args...> format, Args&&... args) const {
    return Error{ErrorCode::unsupported, place(at) + fmt::format(format, std::forward<Args>(args)...)};
  }
  template <typename... Args>
  Error invalid(const Json& at, fmt::format_string<Args...> format, Args&&... args) const {
    return Error{ErrorCode::invalid_argument, place(at) + fmt::format(format, std::forward<Args>(args)...)};
  }
  void notice(const Json& at, const std::string& text);

 private:
  using Group = std::vector<Schemas>;  // alternatives, one of which holds
  struct Work {
    Schemas pending, taken;
    std::vector<Group> groups;
  };

  std::string place(const Json& at) const { return "JSON schema, " + document_.place(at) + ": "; }
  Result<void> expand(Work work, std::vector<Schemas>& out);
  Result<bool> take(const Json& schema, Work& work);  // false: nothing is valid
  Result<void> check_keywords(const Json& schema);
  Result<Schemas> list_of(const Json& schema, std::string_view key) const;
  Result<void> one_of(const Json& schema, Work& work);
  Result<void> dependencies(const Json& schema, Work& work);
  // What is valid exactly where `schema` is not.
  Result<Group> negate(const Json& schema, int depth);
  Result<void> negate_keyword(const Json& schema, const JsonMember& member, int depth, Group& out);
  bool disjoint(const Json& a, const Json& b, int depth) const;
  const Json* add(Json schema, const Json& like) { return document_.add(std::move(schema), like); }

  SchemaDocument& document_;
  std::vector<std::string>& notices_;
  std::set<const Json*> checked_;
  size_t steps_ = 0;
};

// Keywords of schemas that negation makes; a document cannot use them.
inline constexpr std::string_view kNotTypes = "\x01not types";
inline constexpr std::string_view kNotValues = "\x01not values";
inline constexpr std::string_view kNotPattern = "\x01not pattern";

}  // namespace moxie::grammar
