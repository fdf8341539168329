//! A graph's file: what is read is what was written, and whatever else it holds is refused.

use super::{DIMENSION, Draw, graph_of, places};
use crate::graph::LINKS_BASE;
use crate::{Graph, ReadError, Scratch};

/// A graph with points in all states, and its file.
fn written() -> (Graph, Vec<Vec<f32>>, Vec<u8>) {
    let vectors = Draw(20).clustered(700, DIMENSION);
    let mut graph = graph_of(&vectors[..600], &mut Scratch::new());
    graph.remove(17);
    graph.remove(300);
    for place in 600..650 {
        graph.put(place, &vectors[place as usize]);
    }
    let bytes = file_of(&graph);
    (graph, vectors, bytes)
}

fn file_of(graph: &Graph) -> Vec<u8> {
    let mut bytes = Vec::new();
    graph.write(&mut bytes, 77).unwrap();
    bytes
}

fn read(mut bytes: &[u8]) -> Result<(Graph, u64), ReadError> {
    let length = bytes.len() as u64;
    Graph::read(&mut bytes, length)
}

#[test]
fn a_graph_that_was_read_answers_and_grows_as_the_one_that_was_written() {
    let (mut graph, vectors, bytes) = written();
    let (mut copy, mark) = read(&bytes).unwrap();
    assert_eq!((mark, copy.live(), copy.waiting()), (77, graph.live(), graph.waiting()));
    assert_eq!(file_of(&copy), bytes);
    let mut scratch = Scratch::new();
    for linking in [false, true] {
        if linking {
            super::linked(&mut graph, &mut scratch);
            super::linked(&mut copy, &mut scratch);
        }
        for query in &vectors[600..] {
            let found = graph.search(query, 10, 64, None, &mut scratch);
            assert_eq!(found, copy.search(query, 10, 64, None, &mut scratch));
            assert!(!places(&found).contains(&17));
        }
    }
    assert_eq!(graph.place(&|_| false), copy.place(&|_| false));
    let empty = Graph::new(DIMENSION);
    assert_eq!(read(&file_of(&empty)).unwrap().0.live(), 0);
}

#[test]
fn a_byte_changed_anywhere_is_refused() {
    let (_, _, bytes) = written();
    let mut draw = Draw(21);
    for turn in 0..300 {
        // Each byte of the head, and others anywhere.
        let at = if turn < 32 { turn } else { draw.below(bytes.len()) };
        let mut damaged = bytes.clone();
        damaged[at] ^= 1 << draw.below(8);
        assert!(read(&damaged).is_err(), "the byte {at}");
    }
}

#[test]
fn a_file_cut_short_anywhere_is_refused() {
    let (_, _, bytes) = written();
    let mut draw = Draw(22);
    for end in (0..64).chain((0..40).map(|_| draw.below(bytes.len()))).chain([bytes.len() - 1]) {
        assert!(read(&bytes[..end]).is_err(), "the first {end} bytes");
        // Even if the file is said to be whole.
        let refused = Graph::read(&mut &bytes[..end], bytes.len() as u64).unwrap_err();
        assert!(matches!(refused, ReadError::Short(_)), "{refused}");
    }
}

#[test]
fn a_file_with_right_checksums_that_leads_astray_is_refused_by_the_name_of_what_does() {
    let (graph, _, _) = written();
    let refused = |change: &dyn Fn(&mut Graph)| {
        let mut changed = graph.clone();
        change(&mut changed);
        read(&file_of(&changed)).unwrap_err().to_string()
    };
    let beyond = refused(&|graph| graph.base[5 * LINKS_BASE] = 650);
    assert_eq!(beyond, "the file's link from the place 5 to 650 on layer 0 leads nowhere");
    assert!(refused(&|graph| graph.base[5 * LINKS_BASE] = 5).contains("link from the place 5"));
    assert!(refused(&|graph| graph.base[5 * LINKS_BASE] = 601).contains("to 601"));
    assert!(refused(&|graph| graph.base[601 * LINKS_BASE] = 5).contains("from the place 601"));
    assert!(
        refused(&|graph| graph.upper[0] = (0..600).find(|place| crate::graph::level(*place) == 0).unwrap())
            .contains("layer 1")
    );
    assert!(refused(&|graph| graph.entry = u32::MAX).contains("entry"));
    assert!(refused(&|graph| graph.entry = 620).contains("entry 620"));
    assert!(refused(&|graph| graph.rows.scales[9] = f32::NAN).contains("scale of the place 9"));
}

#[test]
fn counts_that_lie_are_refused_before_memory_is_taken() {
    let (_, _, bytes) = written();
    let lie = |at: usize, number: u32| {
        let mut lying = bytes.clone();
        lying[at..at + 4].copy_from_slice(&number.to_le_bytes());
        lying[20..24].fill(0);
        let sum = crc32fast::hash(&lying[..32]);
        lying[20..24].copy_from_slice(&sum.to_le_bytes());
        read(&lying).unwrap_err()
    };
    assert!(matches!(lie(12, u32::MAX), ReadError::Places(_)));
    assert!(matches!(lie(12, 1 << 30), ReadError::Places(_)));
    assert!(matches!(lie(12, 651), ReadError::Places(651)));
    assert!(matches!(lie(8, 0), ReadError::Dimension(0)));
    assert!(matches!(lie(8, 1 << 20), ReadError::Dimension(_)));
    assert!(matches!(lie(8, 65), ReadError::Places(_)));
}
