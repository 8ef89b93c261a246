# A folder's sources compile as one: most of a file's compile time goes into headers and templates that its neighbours share.
# File-local names are therefore distinct within a folder. Debug builds compile file by file, where a small change is what counts.
# So do, in every build, folders that hold one file per kind of thing, each with the same few local names, and a test that replaces operator new.
set(MOXIE_ONE_BY_ONE "/(tool_formats|endpoints|families|stores|formats|quantized|checks|policies|types|parted|samplers)/|/wire_|/allocations_test")
if(CMAKE_BUILD_TYPE STREQUAL "Debug")
  option(MOXIE_JOINED "compile each folder as one source" OFF)
else()
  option(MOXIE_JOINED "compile each folder as one source" ON)
endif()

function(moxie_join_folders target)
  if(NOT MOXIE_JOINED)
    return()
  endif()
  get_target_property(sources ${target} SOURCES)
  foreach(source ${sources})
    # What lies above the repository is none of its folders.
    string(REPLACE "${CMAKE_SOURCE_DIR}/" "" place "${source}")
    if(place MATCHES "\\.cpp$" AND NOT place MATCHES "\\.simd\\.cpp$" AND NOT "/${place}" MATCHES "${MOXIE_ONE_BY_ONE}")
      cmake_path(GET place PARENT_PATH folder)
      string(REPLACE "/" "_" folder "${folder}")
      set_source_files_properties(${source} PROPERTIES UNITY_GROUP ${folder})
    endif()
  endforeach()
  set_target_properties(${target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_MODE GROUP)
  # gcc takes a joined source for a header, where a type of an unnamed namespace in a class would be a mistake.
  target_compile_options(${target} PRIVATE $<$<CXX_COMPILER_ID:GNU>:-Wno-subobject-linkage>)
endfunction()
