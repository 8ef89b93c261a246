#!/bin/bash
# list_cases.sh BUILD_FOLDER: the full name of every GoogleTest case in the test programs of a build.
for program in "$1"/moxie_tests "$1"/moxie_model_tests; do
  if [[ -x $program ]]; then
    "$program" --gtest_list_tests | awk '/^[^ ].*\.( *#.*)?$/ { suite = $1; next } /^  / { print suite $1 }'
  fi
done
