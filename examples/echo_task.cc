// As echo.cc, read from top to bottom: one task serves each connection.
#include "sluice/sluice.h"

class Echo : public sluice::TaskSession {
  sluice::Task<> Serve() override {
    while (const auto bytes = co_await Read()) co_await Write(*bytes);
  }
};

int main(int argc, char** argv) {
  sluice::Runtime runtime(sluice::Options::FromFlags(argc, argv));
  runtime.Listen<Echo>("127.0.0.1:7001");
  return runtime.RunUntilSignal();
}
