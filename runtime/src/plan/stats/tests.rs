use super::*;

fn with<'t>(files: &'t [(&'t str, &'t str)]) -> impl Fn(&str) -> Option<String> + 't {
    move |name| files.iter().find(|(file, _)| *file == name).map(|(_, text)| (*text).to_owned())
}

#[test]
fn nothing_there_is_no_failure() {
    let none = |_: &str| None;
    assert_eq!(v1(&none, &["2MB".to_owned()]), Stats::default());
    assert_eq!(v2(&none, &["2MB".to_owned()]), Stats::default());
}

#[test]
fn what_v2_says() {
    let files = [
        (
            "cpu.stat",
            "usage_usec 7\nuser_usec 4\nsystem_usec 3\nnr_throttled 2\nthrottled_usec 9\n",
        ),
        ("cpu.pressure", "some avg10=1.50 avg60=0.00 avg300=0.10 total=99\n"),
        ("memory.current", "100\n"),
        ("memory.max", "max\n"),
        ("memory.stat", "file 30\nanon 2\n"),
        ("memory.swap.current", "5\n"),
        ("memory.swap.max", "10\n"),
        ("pids.current", "3\n"),
        ("pids.max", "max\n"),
        ("io.stat", "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0\n"),
        ("hugetlb.2MB.current", "1\n"),
        ("hugetlb.2MB.rsvd.current", "2\n"),
        ("hugetlb.2MB.rsvd.max", "max\n"),
        ("hugetlb.2MB.events", "max 6\n"),
        ("rdma.max", "mlx hca_handle=2 hca_object=max\n"),
        ("rdma.current", "mlx hca_handle=1 hca_object=0\n"),
    ];
    let stats = v2(&with(&files), &["2MB".to_owned(), "1GB".to_owned()]);
    assert_eq!((stats.cpu.usage.total, stats.cpu.usage.user), (7000, 4000));
    assert_eq!(stats.cpu.throttling.throttled_time, 9000);
    let psi = stats.cpu.psi.unwrap();
    assert_eq!((psi.some.avg10, psi.some.total), (1.5, 99));
    assert_eq!((stats.memory.usage.limit, stats.memory.cache), (u64::MAX, 30));
    assert_eq!((stats.memory.swap.limit, stats.memory.swap.usage), (u64::MAX, 105));
    assert_eq!((stats.pids.current, stats.pids.limit), (3, 0));
    let bytes = &stats.blkio.io_service_bytes_recursive;
    assert_eq!((bytes.len(), bytes[1].op.as_str(), bytes[1].value), (2, "Write", 2));
    assert_eq!(stats.blkio.io_serviced_recursive[0].value, 3);
    assert_eq!(stats.hugetlb.len(), 1);
    let pages = stats.hugetlb["2MB"];
    assert_eq!((pages.usage, pages.limit, pages.failcnt), (2, u64::MAX, 6));
    assert_eq!(stats.rdma.unwrap().rdma_limit[0].hca_objects, u32::MAX);
}

#[test]
fn what_v1_says() {
    let files = [
        ("cpuacct.usage", "700\n"),
        ("cpuacct.usage_percpu", "300 400 \n"),
        ("cpuacct.usage_all", "cpu user system\n0 100 200\n1 300 100\n"),
        ("cpuacct.stat", "user 2\nsystem 1\n"),
        ("cpuset.cpus", "0-1,3\n"),
        ("cpuset.sched_relax_domain_level", "-1\n"),
        ("memory.usage_in_bytes", "9\n"),
        ("memory.memsw.limit_in_bytes", "11\n"),
        ("memory.stat", "cache 5\n"),
        ("blkio.throttle.io_serviced_recursive", "8:0 Read 4\n8:0 Write 5\nTotal 9\n"),
        ("hugetlb.2MB.usage_in_bytes", "8\n"),
    ];
    let stats = v1(&with(&files), &["2MB".to_owned()]);
    assert_eq!(stats.cpu.usage.percpu, [300, 400]);
    assert_eq!(stats.cpu.usage.percpu_user, Some(vec![100, 300]));
    assert_eq!((stats.cpu.usage.user, stats.cpu.usage.kernel), (20_000_000, 10_000_000));
    assert_eq!(stats.cpuset.cpus, [0, 1, 3]);
    assert_eq!(stats.cpuset.sched_relax_domain_level, -1);
    assert_eq!((stats.memory.usage.usage, stats.memory.swap.limit), (9, 11));
    assert_eq!(stats.blkio.io_serviced_recursive.len(), 2);
    assert_eq!(stats.hugetlb["2MB"].usage, 8);
}

#[test]
fn interfaces_and_sizes() {
    let text = "Inter-| Receive\n face |bytes\n    lo: 1 2 0 0 0 0 0 0 1 2 0 0 0 0 0 0\n\
                  eth0: 10 20 1 2 0 0 0 0 30 40 3 4 0 0 0 0\n";
    let list = interfaces(text);
    assert_eq!(list.len(), 1);
    assert_eq!((list[0].name.as_str(), list[0].rx_dropped, list[0].tx_bytes), ("eth0", 2, 30));
    assert_eq!(page_name("hugepages-2048kB").as_deref(), Some("2MB"));
    assert_eq!(page_name("hugepages-1048576kB").as_deref(), Some("1GB"));
    assert_eq!(page_name("hugepages-64kB").as_deref(), Some("64KB"));
    assert_eq!(page_name("x"), None);
}
