// ActorIsAbstract<Echo>
#include "sluice/sluice.h"

struct Echo : sluice::Session {
  void OnOpen() override { Close(); }
};
void Serve(sluice::Runtime& runtime) { runtime.Listen<Echo>("127.0.0.1:0"); }
