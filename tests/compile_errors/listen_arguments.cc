// NoConstructorTakes<Echo, const int
#include "sluice/sluice.h"

struct Echo : sluice::Session {
  void OnData(sluice::Input&) override {}
};
void Serve(sluice::Runtime& runtime) { runtime.Listen<Echo>("127.0.0.1:0", 7); }
