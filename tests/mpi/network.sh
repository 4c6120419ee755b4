#!/usr/bin/env bash
# Ranks on "machines" with a slow link between them: network namespaces, joined by a bridge, each link limited by tc. Needs root, iproute2, Open MPI.
#
#   tests/mpi/network.sh RATE COMMAND...     e.g. 1gbit target/release/elbo train --preset conv --max-steps 60 --threads 1
#   MACHINES=3 tests/mpi/network.sh ...      other than two
#   LATENCY=50ms tests/mpi/network.sh ...    a shorter queue before the link: it drops what TCP sends faster than the link for so long
#
# Prints what the command prints. There is no ssh: mpirun starts its daemons by an agent that enters the namespace, under a host name of its own, so
# that Open MPI takes them for machines and does not use shared memory.
set -euo pipefail
rate=$1
shift
machines=${MACHINES:-2}
latency=${LATENCY:-400ms}
work=$(mktemp -d)
names=()
clean() {
    for i in $(seq "${#names[@]}"); do
        ip link del "elbo-v$i" 2>/dev/null || true
        ip netns del "elbo-$i" 2>/dev/null || true
    done
    ip link del elbo-bridge 2>/dev/null || true
    rm -rf "$work"
}
trap clean EXIT

ip link add elbo-bridge type bridge
ip link set elbo-bridge up
ip addr add 10.97.0.254/24 dev elbo-bridge
hosts=
for i in $(seq "$machines"); do
    name=elbo-$i
    names+=("$name")
    ip netns add "$name"
    ip link add "elbo-v$i" type veth peer name net0 netns "$name"
    ip link set "elbo-v$i" master elbo-bridge up
    ip -n "$name" addr add "10.97.0.$i/24" dev net0
    ip -n "$name" link set net0 up
    ip -n "$name" link set lo up
    # Both directions of a machine's link.
    ip netns exec "$name" tc qdisc add dev net0 root tbf rate "$rate" burst 128k latency "$latency"
    tc qdisc add dev "elbo-v$i" root tbf rate "$rate" burst 128k latency "$latency"
    hosts+=${hosts:+,}10.97.0.$i:1
done
cat >"$work/agent" <<'AGENT'
#!/usr/bin/env bash
host=$1
shift
exec ip netns exec "elbo-${host##*.}" unshare --uts sh -c "hostname elbo-${host##*.}; $*"
AGENT
chmod +x "$work/agent"
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
# mpirun itself is on the bridge, and on no machine.
mpirun --mca plm_rsh_agent "$work/agent" --mca orte_keep_fqdn_hostnames 1 --mca btl tcp,self --mca btl_tcp_if_include 10.97.0.0/24 \
    --mca oob_tcp_if_include 10.97.0.0/24 --bind-to none --host "$hosts" "$@"
