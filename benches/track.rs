//! What one packet costs where it is made and where it is verified.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use loa::key::SigningKey;
use loa::time::Civil;
use loa::track::{Info, Reader, Secret, Writer};
use std::hint::black_box;
use uuid::Uuid;

fn packets(criterion: &mut Criterion) {
    let secret = Secret { key: [3; 16], salt: [4; 12] };
    let key = SigningKey::from_seed(&[5; 32]);
    let info = Info {
        id: Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0001),
        sign: key.public(),
        ssrc: 7,
        duration: 11_520,
        anchor: Civil(1_700_000_000_000_000),
        key_hash: secret.hash(),
        bitrate: 24_000,
        packets: None,
    };
    let records = [vec![1u8; 357], vec![2u8; 357]];
    let room = Writer::room(info.bitrate, info.duration);
    let mut writer = Writer::new(info.clone(), &secret, key, room);
    let mut group = criterion.benchmark_group("packet of 240 ms at 24 kb/s");
    group.throughput(Throughput::Elements(1));
    group.bench_function("seal and protect", |bencher| {
        bencher.iter(|| writer.write(black_box(&records), Civil(1_700_000_000_000_000)));
    });
    let packet = writer.write(&records, Civil(1_700_000_000_000_000)).expect("two records fit");
    let reader = Reader::new(&info, &secret).expect("the secret is the track's");
    group.bench_function("unprotect and verify", |bencher| {
        bencher.iter(|| reader.read(packet.index, black_box(&packet.bytes)));
    });
    group.finish();
}

criterion_group!(benches, packets);
criterion_main!(benches);
