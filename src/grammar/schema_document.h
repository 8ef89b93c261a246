// A JSON schema's text and where its references lead. Immutable once read, but for what copy() adds; not thread-safe.
#pragma once

#include <deque>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>

#include "core/json.h"
#include "moxie/error.h"

namespace moxie::grammar {

class SchemaDocument {
 public:
  static Result<SchemaDocument> parse(std::string_view text);
  SchemaDocument(SchemaDocument&&) = default;  // keeps the addresses of the values

  const Json& root() const { return texts_.front(); }
  // The schema that `ref`, standing in `from`, names. Error: unsupported, it lies elsewhere.
  Result<const Json*> resolve(const Json& from, std::string_view ref) const;
  // A schema made of parts of `like`: what they refer to stays the same.
  const Json* add(Json schema, const Json& like);
  bool is_made(const Json& schema) const { return places_.at(&schema).made; }
  // "#/properties/name", for messages.
  std::string place(const Json& schema) const;
  // In drafts up to 7 a $ref stands alone: what is beside it has no meaning.
  bool ref_stands_alone() const { return ref_stands_alone_; }
  size_t made_count() const { return texts_.size() - 1; }

 private:
  struct Place {
    std::string pointer, base;
    bool made = false;
  };
  SchemaDocument() = default;
  void index(const Json& value, const std::string& pointer, std::string base, bool made, bool is_schema);

  std::deque<Json> texts_;
  std::unordered_map<const Json*, Place> places_;
  std::map<std::string, const Json*, std::less<>> resources_;  // by base address, without '#'
  std::map<std::string, const Json*, std::less<>> anchors_;    // base#name
  bool ref_stands_alone_ = false;
};

}  // namespace moxie::grammar
