// A model named "hf:org/name" that is not on this machine, looked into by range requests: for commands that read
// headers alone. Not thread-safe.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "cli/interruption.h"
#include "core/mount.h"
#include "hub/remote_files.h"
#include "moxie/error.h"

namespace moxie::cli {

class RemoteModel {
 public:
  // Makes `model` a path that can be opened while this object lives; leaves what names no hub as it is. What is in the
  // cache is used. Errors: those of the hub; invalid_argument for a repository of several models, with their names.
  Result<void> open(std::string& model);
  // How much of how much was read over the network; nothing where nothing was.
  std::optional<std::string> read_in_words() const;

 private:
  std::shared_ptr<RemoteFiles> files_;
  std::optional<Mount> mount_;
  std::unique_ptr<Interruption> interruption_;
};

}  // namespace moxie::cli
