// What a sequence remembers between steps. Everything that saves, shares or rolls back a sequence goes through this
// interface, so that other kinds of memory (latent keys and values, recurrent snapshots) can stand in for key/value
// blocks. A state belongs to one engine; calls are serialised by it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "moxie/error.h"

namespace moxie {

class KvCache;

class SequenceState {
 public:
  virtual ~SequenceState() = default;

  virtual int64_t tokens() const = 0;  // remembered so far
  virtual Result<void> reserve(
      int64_t more) = 0;                  // memory to write positions [tokens, tokens + more); shared blocks are copied
  virtual void commit(int64_t more) = 0;  // they are written. REQUIRES: reserved
  virtual Result<void> truncate(
      int64_t tokens) = 0;  // forget all but the first `tokens`; an error where the kind cannot
  virtual std::unique_ptr<SequenceState> fork() const = 0;  // the same memory, shared until either writes
  virtual uint64_t bytes() const = 0;
  // The whole memory as bytes, and back. restore() refuses bytes of another shape (Error invalid_argument or corrupt).
  virtual std::vector<std::byte> save() const = 0;
  virtual Result<void> restore(std::span<const std::byte> saved) = 0;

  virtual KvCache* kv() { return nullptr; }  // for attention blocks
};

}  // namespace moxie
