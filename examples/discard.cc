// Reads all input and answers nothing (RFC 863).
#include "sluice/sluice.h"

class Discard : public sluice::Session {
  void OnData(sluice::Input& in) override { in.TakeAll(); }
};

int main(int argc, char** argv) {
  sluice::Runtime runtime(sluice::Options::FromFlags(argc, argv));
  runtime.Listen<Discard>("127.0.0.1:7002");
  return runtime.RunUntilSignal();
}
