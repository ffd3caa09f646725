#!/bin/sh
# Runs the daemon in a container. A controller that dies is started again and adopts the engine, so that its streams live
# on; the container ends with the engine. On SIGTERM the engine finishes its live requests, for at most
# engine.drain_timeout_s. SIGHUP reads config.yaml again.
set -u
runtime=${RUNTIME_DIRECTORY:-/run/reconfigure}
ending=
controller=

end() {
    ending=yes
    kill -TERM "$controller" 2>/dev/null
}
trap end TERM INT
trap 'kill -HUP "$controller" 2>/dev/null' HUP

engine_runs() {
    pid=$(sed -n 's/.*"pid": *\([0-9]*\).*/\1/p' "$runtime/engine-host.pid" 2>/dev/null)
    [ -n "$pid" ] && kill -0 "$pid" 2>/dev/null
}

while :; do
    reconfigure serve &
    controller=$!
    # A signal interrupts `wait`, so it is called until the controller has ended.
    while :; do
        wait "$controller"
        code=$?
        kill -0 "$controller" 2>/dev/null || break
    done
    [ -z "$ending" ] || break
    # Without an engine nobody's stream depends on this container: whoever started it decides what is next.
    engine_runs || exit "$code"
    echo "entrypoint: the controller ended with $code; the engine serves on, and the next controller adopts it" >&2
    sleep 1
done
reconfigure stop --runtime "$runtime"
