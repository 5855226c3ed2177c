package milvus

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"time"
)

var logMutex sync.Mutex

// logLine writes in Milvus' text format: [time] [LEVEL] [source] ["message"] [key=value]…
func logLine(level, source, message string, pairs ...string) {
	var b strings.Builder
	fmt.Fprintf(&b, "[%s] [%s] [%s] [%q]", time.Now().UTC().Format("2006/01/02 15:04:05.000 -07:00"), level, source, message)
	for i := 0; i+1 < len(pairs); i += 2 {
		value := pairs[i+1]
		if strings.ContainsAny(value, " \"=[]") {
			value = fmt.Sprintf("%q", value)
		}
		fmt.Fprintf(&b, " [%s=%s]", pairs[i], value)
	}
	b.WriteByte('\n')
	logMutex.Lock()
	defer logMutex.Unlock()
	os.Stderr.WriteString(b.String()) // the stream of a panic, so that the log keeps its order
}

func logInfo(source, message string, pairs ...string) { logLine("INFO", source, message, pairs...) }
func logWarn(source, message string, pairs ...string) { logLine("WARN", source, message, pairs...) }
