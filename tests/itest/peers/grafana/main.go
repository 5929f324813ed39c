// Reads dashboards as Grafana's own schema has them and prints every fault, one a line; the exit code is 1 if any.
package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/grafana/grafana-foundation-sdk/go/cog/plugins"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
)

func main() {
	plugins.RegisterDefaultPlugins() // or options of panels and queries would pass unread
	good := true
	for _, name := range os.Args[1:] {
		for _, fault := range faults(name) {
			good = false
			fmt.Printf("%s: %s\n", name, fault)
		}
	}
	if !good {
		os.Exit(1)
	}
}

func faults(name string) []string {
	raw, err := os.ReadFile(name)
	if err != nil {
		return lines(err)
	}
	var read dashboard.Dashboard
	if err := read.UnmarshalJSONStrict(raw); err != nil {
		return lines(err)
	}
	return lines(read.Validate())
}

// A list of no errors is an error, too, in the SDK: not nil, but without a word.
func lines(err error) []string {
	if err == nil || err.Error() == "" {
		return nil
	}
	return strings.Split(err.Error(), "\n")
}
