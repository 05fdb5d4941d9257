module lockstep/benchmarks/peers/load

go 1.21
