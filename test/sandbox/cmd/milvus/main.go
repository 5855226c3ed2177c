// Command milvus runs in the sandbox's Milvus containers and behaves, seen from outside, as the
// Milvus of its image tag does. Its command line is Milvus' own: milvus run <component>.
package main

import (
	"os"

	"sandbox/milvus"
)

func main() { os.Exit(milvus.Main(os.Args[1:], os.Environ())) }
