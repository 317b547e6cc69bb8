// Command keyway-jupyter runs in workspaces, which are Linux.
package main

import "fmt"

func main() { fmt.Println("keyway-jupyter runs on Linux only") }
