package main

import (
	"debug/buildinfo"
	"strings"
)

// moduleVersion is the version of a module inside a Go program, empty when it is not there.
func moduleVersion(program, module string) string {
	info, err := buildinfo.ReadFile(program)
	if err != nil {
		return ""
	}
	if strings.HasPrefix(info.Main.Path, module) && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	for _, m := range info.Deps {
		if m.Path == module || strings.HasPrefix(m.Path, module+"/v") {
			return m.Version
		}
	}
	return ""
}
