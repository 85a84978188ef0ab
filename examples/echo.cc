// Sends back every byte that it receives (RFC 862), also the last ones before a half-close.
#include "sluice/sluice.h"

class Echo : public sluice::Session {
  void OnData(sluice::Input& in) override { WriteOrAbort(in.TakeAll()); }
};

int main(int argc, char** argv) {
  sluice::Runtime runtime(sluice::Options::FromFlags(argc, argv));
  runtime.Listen<Echo>("127.0.0.1:7001");
  return runtime.RunUntilSignal();
}
