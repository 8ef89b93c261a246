#include <cstdio>

int main() {
  std::puts("moxie " MOXIE_VERSION);
  return 0;
}
